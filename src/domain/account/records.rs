//! The records of an account.

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
    /// Its TTL, in milliseconds: the longer of the one that its player was sent and the one in
    /// force at its last heartbeat.
    pub ttl_ms: u32,
    /// Begun, or confirmed later, by a request to open.
    pub admitted: bool,
    /// Its metadata.
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

    /// A sign of life that is answered with the interval and the TTL in force.
    pub(super) fn touch(&mut self, moment: &Moment) {
        self.last_seen = moment.now;
        self.ttl_ms = in_force(moment);
    }

    /// Applies a heartbeat of a player that was last sent the interval `every_ms`, if any. Returns
    /// true if the player does not use the interval or the TTL in force.
    ///
    /// A longer TTL acts at once. A shorter one acts from the first heartbeat whose player is known
    /// to send them often enough for it. Only the player can confirm that a reply arrived.
    pub(super) fn refresh(&mut self, moment: &Moment, every_ms: Option<u32>) -> bool {
        let (told, now) = (self.ttl_ms, in_force(moment));
        let every_now = moment.settings.heartbeat_every_ms;
        let keeps_up = every_ms.is_some_and(|ms| u64::from(ms) <= every_now);
        self.last_seen = moment.now;
        if now > told || keeps_up {
            self.ttl_ms = now;
        }
        now != told || every_ms.is_some_and(|ms| u64::from(ms) != every_now)
    }
}

fn in_force(moment: &Moment) -> u32 {
    u32::try_from(moment.settings.ttl_ms).unwrap_or(u32::MAX)
}

/// A stream that was ended: an open or a heartbeat that comes late does not bring it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Which.
    pub id: StreamId,
    /// It stands until then.
    pub until: LogTime,
    /// Its minimum duration from the last heartbeat on, in milliseconds: the stream's TTL. The
    /// settings in force may extend it.
    pub lasts_ms: u32,
    /// The reason.
    pub reason: StoppedReason,
}

impl Tombstone {
    /// Of a stream that counted by a TTL of `told_ms`, or was not active.
    pub(super) fn new(
        moment: &Moment,
        id: StreamId,
        reason: StoppedReason,
        told_ms: Option<u32>,
    ) -> Self {
        let mut tombstone = Self {
            id,
            until: moment.now,
            lasts_ms: told_ms.unwrap_or(0),
            reason,
        };
        tombstone.renew(moment);
        tombstone
    }

    /// The stopped stream's player still sends heartbeats.
    pub(super) fn renew(&mut self, moment: &Moment) {
        let lasts_ms = moment.settings.tombstone_ms().max(self.lasts_ms.into());
        self.until = self.until.max(moment.now.plus(lasts_ms));
    }
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

/// Records that most accounts do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// By id: an account at its cap is looked up as fast as any other.
    pub(super) tombstones: Vec<Tombstone>,
    /// In the order in which they were made, which is also that of their ends.
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
        mut tombstones: Vec<Tombstone>,
        refusals: Vec<Refusal>,
    ) -> Self {
        tombstones.sort_unstable_by_key(|t| t.id);
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

    /// Replaces all metadata by the results of `shared`, which are equal but deduplicated.
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

    /// Its tombstones, in the order of their ids.
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
