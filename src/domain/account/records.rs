//! The records of an account.

use crate::domain::{
    LogTime, Metadata, Moment, RefusedReason, RequestId, Settings, StoppedReason, StreamId,
    WallTime,
};

/// A stream that is active, or has expired less than a TTL ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// Its id.
    pub id: StreamId,
    /// Its start, in the wall time of that moment: the shift may change later.
    pub started_at: WallTime,
    /// Log time of its last `init` or heartbeat.
    pub last_seen: LogTime,
    /// Its TTL, in milliseconds: the longer of the TTL that its player was sent and the one in
    /// force at its last heartbeat.
    pub ttl_ms: u32,
    /// Whether an `init` was admitted for it, at its start or later.
    pub admitted: bool,
    /// Its metadata.
    pub metadata: Metadata,
}

impl StreamRecord {
    /// The moment at which it expires: two intervals after the TTL. Log time may lag real time by
    /// two intervals at the heartbeat, and no stream may expire early.
    pub(crate) fn deadline(&self) -> LogTime {
        let ttl_ms = u64::from(self.ttl_ms);
        self.last_seen
            .plus(ttl_ms + 2 * Settings::interval_for(ttl_ms))
    }

    /// The moment at which its record can be removed.
    pub(super) fn forgotten_at(&self) -> LogTime {
        self.deadline().plus(u64::from(self.ttl_ms))
    }

    /// Records an `init`, whose reply contains the interval and the TTL in force.
    pub(super) fn touch(&mut self, moment: &Moment) {
        self.last_seen = moment.now;
        self.ttl_ms = in_force(moment);
    }

    /// Applies a heartbeat of a player that was last sent the interval `every_ms`, if any. Returns
    /// true if the player does not use the interval or the TTL in force.
    ///
    /// A longer TTL takes effect at once. A shorter one takes effect at the first heartbeat that
    /// states a short enough interval: only the player can confirm that it received the new one.
    pub(super) fn refresh(&mut self, moment: &Moment, every_ms: Option<u32>) -> bool {
        let (sent, now) = (self.ttl_ms, in_force(moment));
        let every_now = moment.settings.heartbeat_every_ms;
        let keeps_up = every_ms.is_some_and(|ms| u64::from(ms) <= every_now);
        self.last_seen = moment.now;
        if now > sent || keeps_up {
            self.ttl_ms = now;
        }
        now != sent || every_ms.is_some_and(|ms| u64::from(ms) != every_now)
    }
}

fn in_force(moment: &Moment) -> u32 {
    u32::try_from(moment.settings.ttl_ms).unwrap_or(u32::MAX)
}

/// The record of a stopped stream: a late `init` or heartbeat does not resurrect the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Its id.
    pub id: StreamId,
    /// The moment at which it can be removed.
    pub until: LogTime,
    /// Its minimum duration from the last heartbeat on, in milliseconds: the stream's TTL. The
    /// settings in force may extend it.
    pub lasts_ms: u32,
    /// The reason of the stop.
    pub reason: StoppedReason,
}

impl Tombstone {
    /// Creates the tombstone of a stream whose player was sent the TTL `sent_ms`. `None` if the
    /// stream was not active.
    pub(super) fn new(
        moment: &Moment,
        id: StreamId,
        reason: StoppedReason,
        sent_ms: Option<u32>,
    ) -> Self {
        let mut tombstone = Self {
            id,
            until: moment.now,
            lasts_ms: sent_ms.unwrap_or(0),
            reason,
        };
        tombstone.renew(moment);
        tombstone
    }

    /// Extends the tombstone, because the player still sends heartbeats.
    pub(super) fn renew(&mut self, moment: &Moment) {
        let lasts_ms = moment.settings.tombstone_ms().max(self.lasts_ms.into());
        self.until = self.until.max(moment.now.plus(lasts_ms));
    }
}

/// A refusal, stored for repetitions of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The refused request.
    pub request: RequestId,
    /// The reason.
    pub reason: RefusedReason,
    /// The moment at which it can be removed.
    pub until: LogTime,
}

/// Records that most accounts do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// Sorted by id, for binary search.
    pub(super) tombstones: Vec<Tombstone>,
    /// In the order of their creation, which is also the order in which they can be removed.
    pub(super) refusals: Vec<Refusal>,
}

impl Past {
    pub(super) const fn is_empty(&self) -> bool {
        self.tombstones.is_empty() && self.refusals.is_empty()
    }
}
