//! What an account holds.

use super::{Account, Moment};
use crate::domain::{
    LogTime, Metadata, RefusedReason, RequestId, Settings, StoppedReason, StreamId, WallTime,
};

/// A stream that counts, or has counted and is not yet forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// Which.
    pub id: StreamId,
    /// When it began, as shown then: the shift may move later.
    pub started_at: WallTime,
    /// Its last sign of life.
    pub last_seen: LogTime,
    /// The TTL at its last sign of life, in milliseconds: a new setting counts from the next one.
    pub ttl_ms: u32,
    /// Begun, or confirmed later, by a request to open.
    pub admitted: bool,
    /// What its player says about it.
    pub metadata: Metadata,
}

impl StreamRecord {
    /// From here on it does not count. Two intervals beyond the TTL: log time may lag the true
    /// time by so much at the sign of life, and no stream may expire early.
    pub(crate) fn deadline(&self) -> LogTime {
        let ttl_ms = u64::from(self.ttl_ms);
        self.last_seen
            .plus(ttl_ms + 2 * Settings::interval_for(ttl_ms))
    }

    /// From here on nothing is known of it.
    pub(super) fn forgotten_at(&self) -> LogTime {
        self.deadline().plus(u64::from(self.ttl_ms))
    }

    pub(super) fn touch(&mut self, moment: &Moment) {
        self.last_seen = moment.now;
        self.ttl_ms = u32::try_from(moment.settings.ttl_ms).unwrap_or(u32::MAX);
    }
}

/// A stream that was ended: an open or a heartbeat that comes late does not bring it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Which.
    pub id: StreamId,
    /// It stands until then.
    pub until: LogTime,
    /// By what.
    pub reason: StoppedReason,
}

/// A refusal, remembered for repetitions of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whose.
    pub request: RequestId,
    /// Why.
    pub reason: RefusedReason,
    /// It is remembered until then.
    pub until: LogTime,
}

/// What most accounts have none of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) tombstones: Vec<Tombstone>,
    pub(super) refusals: Vec<Refusal>,
}

impl Past {
    pub(super) const fn is_empty(&self) -> bool {
        self.tombstones.is_empty() && self.refusals.is_empty()
    }
}

impl Account {
    /// An account of these records, as [`Self::streams`], [`Self::tombstones`] and
    /// [`Self::refusals`] gave them.
    #[must_use]
    pub fn from_records(
        streams: Vec<StreamRecord>,
        tombstones: Vec<Tombstone>,
        refusals: Vec<Refusal>,
    ) -> Self {
        let past = Past {
            tombstones,
            refusals,
        };
        Self {
            streams: streams.into_iter().collect(),
            past: (!past.is_empty()).then(|| Box::new(past)),
        }
    }

    /// Its streams, active or not yet forgotten, in the order in which they were first seen.
    #[must_use]
    pub fn streams(&self) -> &[StreamRecord] {
        &self.streams
    }

    /// Replaces all that its players say by what `shared` makes of it: the same, kept once for
    /// many.
    pub fn share_all_metadata(&mut self, mut shared: impl FnMut(&Metadata) -> Metadata) {
        for stream in &mut self.streams {
            stream.metadata = shared(&stream.metadata);
        }
    }

    /// The same for the stream that has just taken over what was `said`, if one has.
    pub fn share_metadata(&mut self, said: &Metadata, shared: impl FnOnce(&Metadata) -> Metadata) {
        let mut streams = self.streams.iter_mut();
        if let Some(stream) = streams.find(|s| s.metadata.is_same(said)) {
            stream.metadata = shared(said);
        }
    }

    /// Its tombstones, in the order in which they were made.
    #[must_use]
    pub fn tombstones(&self) -> &[Tombstone] {
        self.past.as_deref().map_or(&[], |p| &p.tombstones)
    }

    /// Its remembered refusals, in their order.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        self.past.as_deref().map_or(&[], |p| &p.refusals)
    }
}

/// Takes out the record whose end comes first, so that one more fits. Ties go by id: all replicas
/// take out the same.
pub(super) fn make_room<T, K: Ord>(records: &mut Vec<T>, limit: usize, by_end: impl Fn(&T) -> K) {
    while records.len() >= limit.max(1) {
        let first = (0..records.len()).min_by_key(|&i| by_end(&records[i]));
        records.remove(first.unwrap_or_default());
    }
}
