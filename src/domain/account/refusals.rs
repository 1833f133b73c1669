//! Stored refusals.
//!
//! A request may be decided more than once: RabbitMQ delivers it again if its worker dies, and its
//! player repeats it while no reply arrives. All of these must get one decision. An opened stream
//! is one by itself. A refusal is stored, because a place may have become free meanwhile: a stream
//! that is admitted by the second decision, after its player has received the first, would count
//! for a TTL although no player plays it. [`crate::domain::Settings::refusal_ms`] states how long.

use super::{Account, Refusal};
use crate::domain::{LogTime, Moment, Open, Refused, RefusedReason, RequestId, Settings};

impl Account {
    pub(super) fn stored_refusal(&self, request: RequestId, now: LogTime) -> Option<&Refusal> {
        let ended = self.ended.as_deref()?;
        ended
            .refusals
            .iter()
            .find(|r| r.request == request && r.until > now)
    }

    pub(super) fn store_refusal(
        &mut self,
        request: RequestId,
        reason: RefusedReason,
        moment: &Moment,
    ) {
        // A full partition stores no new account, not even for a refusal. A repetition of the
        // request is refused again, or opened if the partition is no longer full.
        if moment.full && self.is_empty() {
            return;
        }
        let limit = moment.settings.max_refusals_per_account as usize;
        let refusals = &mut self.ended.get_or_insert_default().refusals;
        // The oldest are evicted first. A repetition of such a request is decided again: its sender
        // may get two different replies, but no limit is exceeded.
        let too_many = (refusals.len() + 1).saturating_sub(limit);
        refusals.drain(..too_many.min(refusals.len()));
        refusals.push(Refusal {
            request,
            reason,
            until: moment.now.plus(moment.settings.refusal_ms()),
        });
    }

    /// Describes the refusal of a proposal that was decided now, for its sender.
    #[must_use]
    pub fn describe_refusal(
        &self,
        moment: &Moment,
        open: &Open,
        reason: RefusedReason,
        is_remembered: bool,
    ) -> Refused {
        let now = moment.now;
        let by_limits = matches!(reason, RefusedReason::MaxActive | RefusedReason::Limits);
        let room = match reason {
            RefusedReason::AccountCap => self.awaits_room_until(moment, open),
            _ => None,
        };
        let remembered = self.stored_refusal(open.request, now);
        let remembered = remembered.filter(|_| is_remembered || room.is_some());
        let tombstone = self.tombstone(open.stream, now).map(|t| t.until);
        let until = remembered.map(|r| r.until).into_iter();
        let until = until.chain(tombstone).chain(room).max();
        Refused {
            reason,
            max_active: open.max_active,
            conflicts: if by_limits {
                self.conflicts(moment, open)
            } else {
                Vec::new()
            },
            is_remembered,
            retry_after_ms: until.map(|until| until.since(now)),
        }
    }

    /// The moment from which there is room for a stream that only tombstones keep from starting.
    fn awaits_room_until(&self, moment: &Moment, open: &Open) -> Option<LogTime> {
        let room_at = self.room_at(moment)?;
        let settings = Settings {
            max_tombstones_per_account: u32::MAX,
            ..moment.settings.clone()
        };
        let roomy = Moment {
            settings: &settings,
            ..*moment
        };
        let fits = self.admit(&roomy, open) != Err(RefusedReason::AccountCap);
        fits.then_some(room_at)
    }
}
