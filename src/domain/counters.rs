//! Counters of a log, updated at each entry, so that they are equal on every replica.

use serde::{Deserialize, Serialize};

use super::{
    HeartbeatOutcome, LifecycleEvent, LifecycleEventKind, OpenOutcome, RefusedReason, StopOutcome,
    StoppedReason, WallTime,
};

/// Maximum number of reasons for rejecting an entry. [`crate::wire::Code`] defines the reasons.
pub const MAX_BAD_REASONS: usize = 16;

/// Counts of the outcomes of a log's entries, from the first entry on.
///
/// The counters are a part of the state: snapshots contain them, and replicas that have applied
/// the same entries have equal counters, independent of when they started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Heartbeats of active streams.
    pub refreshed: u64,
    /// Heartbeats that started a stream.
    pub started: u64,
    /// Heartbeats of stopped streams.
    pub heartbeat_stopped: u64,
    /// Heartbeats of new streams that were dropped because of a limit.
    pub dropped: u64,
    /// Stops of active streams.
    pub ended: u64,
    /// Stops of other streams.
    pub stop_unchanged: u64,
    /// Proposals that opened a stream, repetitions included.
    pub opened: u64,
    /// Proposals that were refused, repetitions included.
    pub refused: u64,
    /// Proposals that had expired.
    pub late: u64,
    /// Admitted streams.
    pub admitted: u64,
    /// Refused requests without repetitions, in the order of [`RefusedReason::ALL`].
    #[serde(with = "list")]
    pub refusals: [u64; RefusedReason::ALL.len()],
    /// Durations of the streams that a stop ended.
    pub stopped: Durations,
    /// Durations of the streams that another stream replaced.
    pub replaced: Durations,
    /// Durations of the streams that expired, up to the last heartbeat.
    pub expired: Durations,
    /// Rejected entries, by the number of the reason.
    #[serde(with = "list")]
    pub bad: [u64; MAX_BAD_REASONS],
}

/// A histogram of how long streams had played when they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// Number of streams in each class, the class above the last of [`Self::BOUNDS_S`] included.
    #[serde(with = "list")]
    pub counts: [u64; Durations::BOUNDS_S.len() + 1],
    /// Sum of all durations, in milliseconds.
    pub sum_ms: u64,
}

/// A list of counts, which later versions may extend: a missing count is 0.
mod list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(counts: &[u64], to: S) -> Result<S::Ok, S::Error> {
        counts.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u64; N], D::Error> {
        let list = Vec::<u64>::deserialize(from)?;
        let mut counts = [0; N];
        let first = counts.get_mut(..list.len());
        let too_many = || D::Error::invalid_length(list.len(), &"fewer counts");
        first.ok_or_else(too_many)?.copy_from_slice(&list);
        Ok(counts)
    }
}

impl Durations {
    /// The inclusive upper bounds of all classes but the last, in seconds: 15, 30 and 60 minutes,
    /// 2, 4, 8 and 16 hours, 1, 3 and 7 days.
    pub const BOUNDS_S: [u64; 10] = [
        900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400, 259_200, 604_800,
    ];

    fn add(&mut self, from: WallTime, until: WallTime) {
        let ms = u64::try_from(until.0.saturating_sub(from.0)).unwrap_or(0);
        let class = Self::BOUNDS_S.partition_point(|&bound| bound * 1_000 < ms);
        self.counts[class] += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }
}

impl Counters {
    /// The number of the reason for rejecting a field.
    pub const BAD_FIELD: usize = 2;
    /// The number of the reason for rejecting an entry that needs newer rules.
    pub const OLD_RULES: usize = 12;

    /// Counts a heartbeat.
    pub fn heartbeat(&mut self, outcome: &HeartbeatOutcome) {
        match outcome {
            HeartbeatOutcome::Refreshed { .. } => self.refreshed += 1,
            HeartbeatOutcome::Started { .. } => self.started += 1,
            HeartbeatOutcome::Stopped(_) => self.heartbeat_stopped += 1,
            HeartbeatOutcome::Dropped(_) => self.dropped += 1,
        }
        if outcome.ignores_metadata() {
            self.bad(Self::BAD_FIELD);
        }
    }

    /// Counts a stop.
    pub const fn stop(&mut self, outcome: StopOutcome) {
        match outcome {
            StopOutcome::Ended => self.ended += 1,
            StopOutcome::Tombstoned | StopOutcome::Unchanged => self.stop_unchanged += 1,
        }
    }

    /// Counts a proposal.
    pub const fn open(&mut self, outcome: &OpenOutcome) {
        match outcome {
            OpenOutcome::Opened { .. } => self.opened += 1,
            OpenOutcome::Refused { .. } => self.refused += 1,
            OpenOutcome::Late => self.late += 1,
        }
    }

    /// Counts a rejected entry. A `reason` beyond the last counts as the last.
    pub fn bad(&mut self, reason: usize) {
        self.bad[reason.min(MAX_BAD_REASONS - 1)] += 1;
    }

    /// Counts a lifecycle event.
    pub fn event(&mut self, event: &LifecycleEvent) {
        match event.kind {
            LifecycleEventKind::Opened { admitted, .. } => self.admitted += u64::from(admitted),
            LifecycleEventKind::Admitted { .. } => self.admitted += 1,
            LifecycleEventKind::Refused { reason, .. } => {
                self.refusals[reason as usize] += 1;
            }
            LifecycleEventKind::Stopped {
                reason, started_at, ..
            } => {
                let durations = match reason {
                    StoppedReason::Stopped => &mut self.stopped,
                    StoppedReason::Replaced => &mut self.replaced,
                    StoppedReason::TooOld => &mut self.expired,
                };
                durations.add(started_at, event.at);
            }
            LifecycleEventKind::Expired {
                started_at,
                last_seen,
                ..
            } => self.expired.add(started_at, last_seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ExpiryCause, LogTime, Metadata, StreamId};

    fn event(at_s: i64, kind: LifecycleEventKind) -> LifecycleEvent {
        LifecycleEvent {
            stream: StreamId::generate(),
            at: WallTime(at_s * 1_000),
            kind,
            metadata: Metadata::default(),
        }
    }

    fn stopped_after(seconds: i64, reason: StoppedReason) -> LifecycleEvent {
        let started_at = WallTime(7_000);
        event(
            7 + seconds,
            LifecycleEventKind::Stopped {
                reason,
                started_at,
                successor: None,
                given: None,
            },
        )
    }

    #[test]
    fn a_duration_is_counted_in_the_class_with_the_next_upper_bound() {
        let mut counters = Counters::default();
        for seconds in [0, 900, 901, 604_800, 604_801, -5] {
            counters.event(&stopped_after(seconds, StoppedReason::Stopped));
        }
        let counts = counters.stopped.counts;
        assert_eq!(counts, [3, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(
            counters.stopped.sum_ms,
            (900 + 901 + 604_800 + 604_801) * 1_000
        );
        counters.event(&stopped_after(1, StoppedReason::Replaced));
        assert_eq!(
            (counters.replaced.counts[0], counters.expired.counts[0]),
            (1, 0)
        );
    }

    #[test]
    fn an_expired_stream_played_until_its_last_heartbeat() {
        let mut counters = Counters::default();
        let kind = LifecycleEventKind::Expired {
            started_at: WallTime(1_000),
            last_seen: WallTime(61_000),
            cause: ExpiryCause::Deadline(LogTime(9)),
        };
        counters.event(&event(1_000, kind));
        assert_eq!(counters.expired.sum_ms, 60_000);
    }

    #[test]
    fn refusals_are_counted_by_reason_and_only_requests_admit() {
        let mut counters = Counters::default();
        for reason in [
            RefusedReason::MaxActive,
            RefusedReason::Stopped,
            RefusedReason::Stopped,
        ] {
            let max_active = None;
            counters.event(&event(
                0,
                LifecycleEventKind::Refused { reason, max_active },
            ));
        }
        let started_at = WallTime(0);
        for admitted in [true, false] {
            let opened = LifecycleEventKind::Opened {
                admitted,
                started_at,
            };
            counters.event(&event(0, opened));
        }
        counters.event(&event(0, LifecycleEventKind::Admitted { started_at }));
        assert_eq!((counters.refusals, counters.admitted), ([1, 0, 0, 2, 0], 2));
    }
}
