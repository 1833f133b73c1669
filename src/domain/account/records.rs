//! The records of an account.

use serde::{Deserialize, Serialize};

use crate::domain::{
    GivenReason, LogTime, Metadata, Moment, RefusedReason, RequestId, Settings, StopCause,
    StoppedReason, StreamId, WallTime,
};

/// A stream that is active, or has expired less than a TTL ago.
///
/// A replica has millions of them, so it takes 56 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Its id.
    pub id: StreamId,
    /// Its start, in the wall time of that moment: the shift may change later.
    pub started_at: WallTime,
    /// Log time of its last `init` or heartbeat.
    pub last_seen: LogTime,
    /// Log time of its start, for its age.
    pub began: LogSecond,
    /// Its TTL, and whether an `init` was admitted for it.
    pub ttl_and_admission: TtlAndAdmission,
    /// Its metadata.
    pub metadata: Metadata,
}

/// A moment of log time in whole seconds, rounded up, so that no age is too high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSecond(pub u32);

impl LogSecond {
    /// The second that ends at or after `time`.
    #[must_use]
    pub fn of(time: LogTime) -> Self {
        Self(u32::try_from(time.0.div_ceil(1_000)).unwrap_or(u32::MAX))
    }

    /// The moment.
    #[must_use]
    pub const fn time(self) -> LogTime {
        LogTime(self.0 as u64 * 1_000)
    }
}

/// The TTL of a stream in milliseconds, at most 24 h, and whether an `init` was admitted for it, in
/// four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, bool)", into = "(u32, bool)")]
pub struct TtlAndAdmission(u32);

impl TtlAndAdmission {
    const ADMITTED: u32 = 1 << 31;

    /// Packs a TTL of less than 2^31 ms and the admission.
    #[must_use]
    pub const fn new(ttl_ms: u32, is_admitted: bool) -> Self {
        let admitted = if is_admitted { Self::ADMITTED } else { 0 };
        Self(ttl_ms & !Self::ADMITTED | admitted)
    }

    /// The TTL: the longer of the TTL that its player was sent and the one in force at its last
    /// heartbeat.
    #[must_use]
    pub const fn ttl_ms(self) -> u32 {
        self.0 & !Self::ADMITTED
    }

    /// Whether an `init` was admitted, at the start of the stream or later.
    #[must_use]
    pub const fn is_admitted(self) -> bool {
        self.0 & Self::ADMITTED != 0
    }
}

impl From<(u32, bool)> for TtlAndAdmission {
    fn from((ttl_ms, is_admitted): (u32, bool)) -> Self {
        Self::new(ttl_ms, is_admitted)
    }
}

impl From<TtlAndAdmission> for (u32, bool) {
    fn from(both: TtlAndAdmission) -> Self {
        (both.ttl_ms(), both.is_admitted())
    }
}

impl StreamRecord {
    pub(super) fn begin(
        moment: &Moment,
        id: StreamId,
        is_admitted: bool,
        metadata: Metadata,
    ) -> Self {
        Self {
            id,
            started_at: moment.shift.show(moment.now),
            last_seen: moment.now,
            began: LogSecond::of(moment.now),
            ttl_and_admission: TtlAndAdmission::new(in_force(moment), is_admitted),
            metadata,
        }
    }

    /// The moment at which it expires: two intervals after the TTL. Log time may lag real time by
    /// two intervals at the heartbeat, and no stream may expire early.
    pub(crate) fn deadline(&self) -> LogTime {
        let ttl_ms = u64::from(self.ttl_and_admission.ttl_ms());
        self.last_seen
            .plus(ttl_ms + 2 * Settings::interval_for(ttl_ms))
    }

    /// The moment at which its record can be removed.
    pub(super) fn forgotten_at(&self) -> LogTime {
        self.deadline().plus(self.ttl_and_admission.ttl_ms().into())
    }

    pub(super) fn is_too_old(&self, moment: &Moment) -> bool {
        let max = moment.settings.max_age_ms();
        max.is_some_and(|max| moment.now.since(self.began.time()) > max)
    }

    /// Records an admitted `init`, whose reply contains the interval and the TTL in force. Returns
    /// whether it is the first one.
    pub(super) fn touch(&mut self, moment: &Moment) -> bool {
        let is_first = !self.ttl_and_admission.is_admitted();
        self.last_seen = moment.now;
        self.ttl_and_admission = TtlAndAdmission::new(in_force(moment), true);
        is_first
    }

    /// Applies a heartbeat of a player that was last sent the interval `every_ms`, if any. Returns
    /// true if the player does not use the interval or the TTL in force.
    ///
    /// A longer TTL takes effect at once. A shorter one takes effect at the first heartbeat that
    /// states a short enough interval: only the player can confirm that it received the new one.
    pub(super) fn refresh(&mut self, moment: &Moment, every_ms: Option<u32>) -> bool {
        let (sent, now) = (self.ttl_and_admission.ttl_ms(), in_force(moment));
        let every_now = moment.settings.heartbeat_every_ms;
        let keeps_up = every_ms.is_some_and(|ms| u64::from(ms) <= every_now);
        self.last_seen = moment.now;
        if now > sent || keeps_up {
            self.ttl_and_admission =
                TtlAndAdmission::new(now, self.ttl_and_admission.is_admitted());
        }
        now != sent || every_ms.is_some_and(|ms| u64::from(ms) != every_now)
    }
}

fn in_force(moment: &Moment) -> u32 {
    u32::try_from(moment.settings.ttl_ms).unwrap_or(u32::MAX)
}

/// The record of a stream that was ended: a late `init` or heartbeat does not resurrect it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Its id.
    pub id: StreamId,
    /// The moment at which it can be removed.
    pub until: LogTime,
    /// Its minimum duration from the last heartbeat on, in milliseconds: the stream's TTL. The
    /// settings in force may extend it.
    pub lasts_ms: u32,
    /// The reason of the end.
    pub reason: StoppedReason,
    /// The reason that the sender of the `stop` or of the replacing `init` gave.
    pub given: Option<GivenReason>,
}

impl Tombstone {
    /// Creates the tombstone of a stream whose player was sent the TTL `sent_ms`. `None` if the
    /// stream was not active.
    pub(super) fn new(
        moment: &Moment,
        id: StreamId,
        cause: StopCause,
        sent_ms: Option<u32>,
    ) -> Self {
        let mut tombstone = Self {
            id,
            until: moment.now,
            lasts_ms: sent_ms.unwrap_or(0),
            reason: cause.reason,
            given: cause.given,
        };
        tombstone.renew(moment);
        tombstone
    }

    /// Extends the tombstone, because the player still sends heartbeats.
    pub(super) fn renew(&mut self, moment: &Moment) {
        let lasts_ms = moment.settings.tombstone_ms().max(self.lasts_ms.into());
        self.until = self.until.max(moment.now.plus(lasts_ms));
    }

    pub(super) fn cause(&self) -> StopCause {
        StopCause {
            reason: self.reason,
            given: self.given.clone(),
        }
    }
}

/// A refusal, stored for repetitions of its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The refused request.
    pub request: RequestId,
    /// The moment at which it can be removed.
    pub until: LogTime,
    /// The reason.
    pub reason: RefusedReason,
}

/// Records that most accounts do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EndedRecords {
    /// Sorted by id, for binary search.
    pub(super) tombstones: Vec<Tombstone>,
    /// In the order of their creation, which is also the order in which they can be removed.
    pub(super) refusals: Vec<Refusal>,
}

impl EndedRecords {
    pub(super) const fn is_empty(&self) -> bool {
        self.tombstones.is_empty() && self.refusals.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_small() {
        assert_eq!(size_of::<StreamRecord>(), 56);
        assert_eq!(size_of::<Tombstone>(), 40);
    }

    #[test]
    fn a_standing_is_a_ttl_and_whether_the_stream_was_admitted() {
        for (ttl_ms, admitted) in [(1_000, false), (86_400_000, true), (0, true)] {
            let standing = TtlAndAdmission::new(ttl_ms, admitted);
            assert_eq!(
                (standing.ttl_ms(), standing.is_admitted()),
                (ttl_ms, admitted)
            );
        }
    }

    #[test]
    fn a_start_is_rounded_up_to_seconds() {
        for (ms, second) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(LogSecond::of(LogTime(ms)), LogSecond(second));
        }
        assert_eq!(LogSecond(2).time(), LogTime(2_000));
    }
}
