//! The rules for one account at one moment of log time.
//!
//! A decision depends only on the account, the moment and the settings. It compares deadlines with
//! the moment, so it does not depend on when expired records are removed.

mod admission;
mod expiry;
mod heartbeat;
mod lifecycle_events;
mod limit_count;
mod open;
mod records;
mod refusals;
mod stop;
mod stored;
mod tombstones;

use smallvec::SmallVec;

pub use heartbeat::{HeartbeatOutcome, MetadataOutcome};
pub use open::OpenOutcome;
pub use records::{LogSecond, Refusal, StreamRecord, Tombstone, TtlAndAdmission};
pub use stop::StopOutcome;

use super::{
    AccountKey, ActiveStream, Activity, LifecycleEvent, LogTime, Metadata, Moment, StreamId,
    StreamState, WallShift,
};
use records::EndedRecords;

/// The streams, tombstones and refusals of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    // Most accounts have one stream, which is stored without an allocation.
    streams: SmallVec<[StreamRecord; 1]>,
    ended: Option<Box<EndedRecords>>,
}

impl Account {
    fn start(
        &mut self,
        moment: &Moment,
        id: StreamId,
        is_admitted: bool,
        metadata: Metadata,
        events: &mut Vec<LifecycleEvent>,
    ) {
        self.streams.retain(|s| s.id != id);
        let stream = StreamRecord::begin(moment, id, is_admitted, metadata);
        events.push(LifecycleEvent::of_opened(moment, &stream));
        self.streams.push(stream);
    }

    /// The account's activity at `now`.
    #[must_use]
    pub fn activity(&self, key: &AccountKey, now: LogTime, shift: WallShift) -> Activity {
        // In the order of the log, also if several streams started at the same tick.
        let streams = self.all_active(now).map(|s| ActiveStream {
            stream: s.id,
            admitted: s.ttl_and_admission.is_admitted(),
            started_at: s.started_at,
            last_seen: shift.show(s.last_seen).max(s.started_at),
            expires_in_ms: s
                .last_seen
                .plus(s.ttl_and_admission.ttl_ms().into())
                .since(now),
            metadata: s.metadata.clone(),
        });
        Activity {
            key: key.clone(),
            as_of: shift.show(now),
            streams: streams.collect(),
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

    /// The metadata of each stream that is active at `now`.
    pub fn active_metadata(&self, now: LogTime) -> impl Iterator<Item = &Metadata> {
        self.all_active(now).map(|stream| &stream.metadata)
    }

    /// Number of streams and tombstones, those that have expired but are not yet removed included.
    #[must_use]
    pub fn records(&self) -> usize {
        self.streams.len() + self.tombstones().len()
    }

    /// Whether the account has no streams, tombstones or refusals.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.ended.is_none()
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
