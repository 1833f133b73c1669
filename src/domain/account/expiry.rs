//! Expiry of an account's streams.

use super::{Account, StreamRecord};
use crate::domain::{ExpiryCause, LifecycleEvent, LogTime, WallShift};

impl Account {
    /// The next moment at which a record of the account expires or can be removed.
    #[must_use]
    pub fn next_change(&self, now: LogTime) -> Option<LogTime> {
        let streams = self.streams.iter().map(|s| {
            let deadline = s.deadline();
            if deadline > now {
                deadline
            } else {
                s.forgotten_at()
            }
        });
        let ended = self.ended.as_deref().into_iter().flat_map(|p| {
            let tombstones = p.tombstones.iter().map(|t| t.until);
            tombstones.chain(p.refusals.iter().map(|r| r.until))
        });
        streams.chain(ended).min()
    }

    /// Appends an event to `events` for each stream whose deadline is after `before` and at most
    /// `now`.
    pub fn expired(
        &self,
        before: LogTime,
        now: LogTime,
        shift: WallShift,
        events: &mut Vec<LifecycleEvent>,
    ) {
        let over = |s: &&StreamRecord| before < s.deadline() && s.deadline() <= now;
        let expired = self.streams.iter().filter(over);
        events.extend(expired.map(|s| {
            let cause = ExpiryCause::Deadline(s.deadline());
            LifecycleEvent::of_expired(now, shift, s, cause)
        }));
    }

    /// Removes the records that no longer affect any answer at `now`.
    pub fn sweep(&mut self, now: LogTime) {
        self.streams.retain(|s| s.forgotten_at() > now);
        if self.streams.spilled() && self.streams.len() <= 1 {
            self.streams.shrink_to_fit();
        }
        if let Some(ended) = &mut self.ended {
            ended.tombstones.retain(|t| t.until > now);
            ended.refusals.retain(|r| r.until > now);
            if ended.is_empty() {
                self.ended = None;
            }
        }
    }
}
