//! The rules for one account at one moment of log time.
//!
//! A decision depends only on the account, the moment and the settings. It compares deadlines with
//! the moment, so it does not depend on when expired records are removed.

mod expiry;
mod records;
mod tombstones;

use smallvec::SmallVec;

pub use records::{Refusal, StreamRecord, Tombstone};

use super::{
    AccountKey, ActiveStream, Activity, LifecycleEvent, LogTime, Metadata, Open, RefusedReason,
    RequestId, Settings, StoppedReason, StreamId, StreamState, WallShift,
};
use records::Past;

/// How long a refusal is remembered, in milliseconds of log time: no repetition of the same
/// request comes later.
pub const REFUSAL_MS: u64 = 30_000;

/// The moment at which an entry is judged.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Log time.
    pub now: LogTime,
    /// How it is shown.
    pub shift: WallShift,
    /// The settings in force.
    pub settings: &'a Settings,
    /// The partition, or the account's tenant in it, takes no new stream.
    pub full: bool,
}

/// The outcome of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenOutcome {
    /// It counts, or counted already.
    Opened,
    /// It does not; nothing else changed.
    Refused(RefusedReason),
    /// The proposal came too late; nothing changed.
    Late,
}

/// The outcome of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatOutcome {
    /// The stream goes on.
    Refreshed {
        /// The player does not use the interval or the TTL in force: send it both.
        outdated: bool,
    },
    /// The stream counts from now on.
    Started {
        /// The player does not use the interval in force: send it.
        outdated: bool,
    },
    /// The stream stays ended.
    Stopped(StoppedReason),
    /// There is no room for a new stream: a limit of the account or of the partition.
    Dropped(RefusedReason),
}

/// The outcome of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// The stream counted until now.
    Ended,
    /// The stream did not count; should its init still come, it is refused.
    Noted,
    /// It was ended already, or there is no room to note it.
    Unchanged,
}

/// One account's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    // Most accounts have one: it needs no allocation of its own.
    streams: SmallVec<[StreamRecord; 1]>,
    past: Option<Box<Past>>,
}

impl Account {
    /// Decides a proposal. Appends the resulting lifecycle events to `events`.
    pub fn open(
        &mut self,
        moment: &Moment,
        open: &Open,
        events: &mut Vec<LifecycleEvent>,
    ) -> OpenOutcome {
        if moment.now > open.not_after {
            return OpenOutcome::Late;
        }
        self.sweep(moment.now);
        if let Some(reason) = self.remembered(open.request, moment.now) {
            return OpenOutcome::Refused(reason);
        }
        if let Err(reason) = self.admit(moment, open) {
            self.remember(open.request, reason, moment);
            events.push(LifecycleEvent::of_refused(moment, open, reason));
            return OpenOutcome::Refused(reason);
        }
        let reserved = usize::from(self.active(open.stream, moment.now).is_none());
        for &replaced in &open.replace {
            self.end(moment, replaced, StoppedReason::Replaced, reserved, events);
        }
        match self.active_mut(open.stream, moment.now) {
            Some(stream) => {
                stream.touch(moment);
                if !open.metadata.is_empty() {
                    stream.metadata = open.metadata.clone();
                }
                if !std::mem::replace(&mut stream.admitted, true) {
                    events.push(LifecycleEvent::of_opened(moment, stream));
                }
            }
            None => self.start(moment, open.stream, true, open.metadata.clone(), events),
        }
        OpenOutcome::Opened
    }

    /// May this stream count as admitted?
    fn admit(&self, moment: &Moment, open: &Open) -> Result<(), RefusedReason> {
        let now = moment.now;
        if self.tombstone(open.stream, now).is_some() {
            return Err(RefusedReason::Stopped);
        }
        let own = self.active(open.stream, now);
        if own.is_some_and(|s| s.admitted) {
            return Ok(()); // a retry
        }
        let stays = |s: &&StreamRecord| s.id != open.stream && !open.replace.contains(&s.id);
        let others = self.all_active(now).filter(stays).count();
        let with_it = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        if open.max_active.is_some_and(|max| with_it > max) {
            return Err(RefusedReason::MaxActive);
        }
        if with_it > moment.settings.max_streams_per_account
            || (own.is_none() && self.room(moment) == 0)
        {
            return Err(RefusedReason::AccountCap);
        }
        // An active stream, or one that replaces another, needs no further capacity.
        let grows = own.is_none() && others == self.count(now);
        if moment.full && grows {
            return Err(RefusedReason::OverCapacity);
        }
        Ok(())
    }

    /// Applies a heartbeat of a player that was last sent the interval `every_ms`, where it names
    /// one. It never resurrects a stopped stream, but a stream that is not known *is* playing, so
    /// it counts.
    pub fn heartbeat(
        &mut self,
        moment: &Moment,
        id: StreamId,
        every_ms: Option<u32>,
        metadata: Option<&Metadata>,
        events: &mut Vec<LifecycleEvent>,
    ) -> HeartbeatOutcome {
        if let Some(tombstone) = self.tombstone_mut(id, moment.now) {
            tombstone.renew(moment);
            return HeartbeatOutcome::Stopped(tombstone.reason);
        }
        if let Some(stream) = self.active_mut(id, moment.now) {
            let outdated = stream.refresh(moment, every_ms);
            if let Some(metadata) = metadata
                && stream.metadata != *metadata
            {
                stream.metadata = metadata.clone();
            }
            return HeartbeatOutcome::Refreshed { outdated };
        }
        if self.count(moment.now) >= moment.settings.max_streams_per_account as usize
            || self.room(moment) == 0
        {
            return HeartbeatOutcome::Dropped(RefusedReason::AccountCap);
        }
        if moment.full {
            return HeartbeatOutcome::Dropped(RefusedReason::OverCapacity);
        }
        let metadata = metadata.cloned().unwrap_or_default();
        self.start(moment, id, false, metadata, events);
        let outdated =
            every_ms.is_some_and(|ms| u64::from(ms) != moment.settings.heartbeat_every_ms);
        HeartbeatOutcome::Started { outdated }
    }

    /// Applies a stop.
    pub fn stop(
        &mut self,
        moment: &Moment,
        id: StreamId,
        events: &mut Vec<LifecycleEvent>,
    ) -> StopOutcome {
        self.end(moment, id, StoppedReason::Stopped, 0, events)
    }

    /// Ends a stream. `reserved` is the room that a stream about to begin needs.
    fn end(
        &mut self,
        moment: &Moment,
        id: StreamId,
        reason: StoppedReason,
        reserved: usize,
        events: &mut Vec<LifecycleEvent>,
    ) -> StopOutcome {
        let now = moment.now;
        if self.tombstone(id, now).is_some() {
            return StopOutcome::Unchanged;
        }
        let told_ms = match self.active(id, now) {
            Some(stream) => {
                events.push(LifecycleEvent::of_stopped(moment, stream, reason));
                Some(stream.ttl_ms)
            }
            // Its init would be refused too.
            None if moment.full || self.room(moment) <= reserved => return StopOutcome::Unchanged,
            None => None,
        };
        self.sweep(now);
        self.streams.retain(|s| s.id != id);
        self.bury(Tombstone::new(moment, id, reason, told_ms));
        match told_ms {
            Some(_) => StopOutcome::Ended,
            None => StopOutcome::Noted,
        }
    }

    fn start(
        &mut self,
        moment: &Moment,
        id: StreamId,
        admitted: bool,
        metadata: Metadata,
        events: &mut Vec<LifecycleEvent>,
    ) {
        self.streams.retain(|s| s.id != id);
        let mut stream = StreamRecord {
            id,
            started_at: moment.shift.show(moment.now),
            last_seen: moment.now,
            ttl_ms: 0,
            admitted,
            metadata,
        };
        stream.touch(moment);
        events.push(LifecycleEvent::of_opened(moment, &stream));
        self.streams.push(stream);
    }

    fn remembered(&self, request: RequestId, now: LogTime) -> Option<RefusedReason> {
        let past = self.past.as_deref()?;
        past.refusals
            .iter()
            .find(|r| r.request == request && r.until > now)
            .map(|r| r.reason)
    }

    fn remember(&mut self, request: RequestId, reason: RefusedReason, moment: &Moment) {
        // A full partition takes no new account, not even to remember that it was refused: it
        // stays full for longer than a request stays valid, or the request is opened after all.
        if moment.full && self.is_empty() {
            return;
        }
        let limit = moment.settings.max_refusals_per_account as usize;
        let refusals = &mut self.past.get_or_insert_default().refusals;
        // The oldest are evicted first. A repetition of such a request is decided again: its sender
        // may get two different replies, but no limit is exceeded.
        let too_many = (refusals.len() + 1).saturating_sub(limit);
        refusals.drain(..too_many.min(refusals.len()));
        refusals.push(Refusal {
            request,
            reason,
            until: moment.now.plus(REFUSAL_MS),
        });
    }

    /// The account's activity at `now`.
    #[must_use]
    pub fn activity(&self, key: &AccountKey, now: LogTime, shift: WallShift) -> Activity {
        let mut streams: Vec<ActiveStream> = self
            .all_active(now)
            .map(|s| ActiveStream {
                stream: s.id,
                admitted: s.admitted,
                started_at: s.started_at,
                last_seen: shift.show(s.last_seen).max(s.started_at),
                expires_in_ms: s.last_seen.plus(u64::from(s.ttl_ms)).since(now),
                metadata: s.metadata.clone(),
            })
            .collect();
        streams.sort_unstable_by_key(|s| (s.started_at, s.stream));
        Activity {
            key: key.clone(),
            as_of: shift.show(now),
            streams,
            left_out: 0,
        }
    }

    /// The state of one stream at `now`.
    #[must_use]
    pub fn state_of(&self, id: StreamId, now: LogTime) -> StreamState {
        if self.tombstone(id, now).is_some() {
            return StreamState::Stopped;
        }
        match self.streams.iter().find(|s| s.id == id) {
            Some(s) if now < s.deadline() => StreamState::Active,
            Some(s) if now < s.forgotten_at() => StreamState::Expired,
            _ => StreamState::Unknown,
        }
    }

    /// How many streams are active at `now`.
    #[must_use]
    pub fn count(&self, now: LogTime) -> usize {
        self.all_active(now).count()
    }

    /// How many records it holds: streams and tombstones, their time up or not.
    #[must_use]
    pub fn records(&self) -> usize {
        self.streams.len() + self.tombstones().len()
    }

    /// Nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.past.is_none()
    }

    fn all_active(&self, now: LogTime) -> impl Iterator<Item = &StreamRecord> {
        self.streams.iter().filter(move |s| now < s.deadline())
    }

    fn active(&self, id: StreamId, now: LogTime) -> Option<&StreamRecord> {
        self.all_active(now).find(|s| s.id == id)
    }

    fn active_mut(&mut self, id: StreamId, now: LogTime) -> Option<&mut StreamRecord> {
        self.streams
            .iter_mut()
            .find(|s| s.id == id && now < s.deadline())
    }
}

#[cfg(test)]
mod tests;
