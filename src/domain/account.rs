//! The rules for one account at one moment of log time.
//!
//! A decision depends only on the account, the moment and the settings. It compares deadlines with
//! the moment, so it does not depend on when expired records are removed.

mod expiry;
mod records;
mod stored;
mod tombstones;

use smallvec::SmallVec;

pub use records::{Refusal, StreamRecord, Tombstone};

use super::{
    AccountKey, ActiveStream, Activity, LifecycleEvent, LogTime, Metadata, Moment, Open,
    RefusedReason, RequestId, StoppedReason, StreamId, StreamState, WallShift,
};
use records::Past;

/// Time for which a refusal is stored, in milliseconds of log time. A repetition of the request
/// cannot arrive later.
pub const REFUSAL_MS: u64 = 30_000;

/// The outcome of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenOutcome {
    /// The stream is active now, or was already.
    Opened,
    /// The stream was refused. No other stream changed.
    Refused(RefusedReason),
    /// The proposal had expired. Nothing changed.
    Late,
}

/// The outcome of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatOutcome {
    /// The stream stays active.
    Refreshed {
        /// The player does not use the interval or the TTL in force: send it both.
        outdated: bool,
    },
    /// The stream was not known, and is active now.
    Started {
        /// The player does not use the interval in force: send it.
        outdated: bool,
    },
    /// The stream stays stopped.
    Stopped(StoppedReason),
    /// The heartbeat would start a stream beyond a limit of the account or of the partition.
    Dropped(RefusedReason),
}

/// The outcome of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// The stream was active.
    Ended,
    /// The stream was not active. A later `init` of it is refused.
    Noted,
    /// The stream was stopped before, or its tombstone would exceed a limit.
    Unchanged,
}

/// The streams, tombstones and refusals of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    // Most accounts have one stream, which is stored without an allocation.
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
        if let Some(reason) = self.stored_refusal(open.request, moment.now) {
            return OpenOutcome::Refused(reason);
        }
        if let Err(reason) = self.admit(moment, open) {
            self.store_refusal(open.request, reason, moment);
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

    /// Checks the limits for a stream.
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

    /// Applies a heartbeat. `every_ms` is the interval that the player was last sent, if it states
    /// one. A heartbeat never resurrects a stopped stream. It starts an unknown stream, because the
    /// stream is playing.
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

    /// Stops a stream. `reserved` tombstones are kept free for a stream that is about to start.
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
        let sent_ms = match self.active(id, now) {
            Some(stream) => {
                events.push(LifecycleEvent::of_stopped(moment, stream, reason));
                Some(stream.ttl_ms)
            }
            // An `init` of the stream would be refused too.
            None if moment.full || self.room(moment) <= reserved => return StopOutcome::Unchanged,
            None => None,
        };
        self.sweep(now);
        self.streams.retain(|s| s.id != id);
        self.insert_tombstone(Tombstone::new(moment, id, reason, sent_ms));
        match sent_ms {
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

    fn stored_refusal(&self, request: RequestId, now: LogTime) -> Option<RefusedReason> {
        let past = self.past.as_deref()?;
        past.refusals
            .iter()
            .find(|r| r.request == request && r.until > now)
            .map(|r| r.reason)
    }

    fn store_refusal(&mut self, request: RequestId, reason: RefusedReason, moment: &Moment) {
        // A full partition stores no new account, not even for a refusal. A repetition of the
        // request is refused again, or opened if the partition is no longer full.
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

    /// Number of streams that are active at `now`.
    #[must_use]
    pub fn count(&self, now: LogTime) -> usize {
        self.all_active(now).count()
    }

    /// Number of streams and tombstones, those that have expired but are not yet removed included.
    #[must_use]
    pub fn records(&self) -> usize {
        self.streams.len() + self.tombstones().len()
    }

    /// Whether the account has no streams, tombstones or refusals.
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
