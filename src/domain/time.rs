//! Log time, the only clock that decisions use.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A moment in milliseconds since the log's start. Only entries of the log advance log time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct LogTime(pub u64);

impl LogTime {
    /// The moment `ms` milliseconds later.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; 0 if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// A moment in milliseconds since 1970-01-01 UTC. It is shown to people; no rule uses it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct WallTime(pub i64);

/// Offset from log time to wall time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WallShift(pub i64);

impl WallShift {
    /// The offset from `log` to `wall`.
    #[must_use]
    pub const fn between(log: LogTime, wall: WallTime) -> Self {
        Self(wall.0.saturating_sub_unsigned(log.0))
    }

    /// Converts log time to wall time.
    #[must_use]
    pub const fn show(self, log: LogTime) -> WallTime {
        WallTime(self.0.saturating_add_unsigned(log.0))
    }
}

/// A worker's clocks and role at one moment, in ticks and all other entries that a worker appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerState {
    /// The worker's estimate of log time: at most two intervals after the log time that the worker
    /// had applied.
    #[serde(rename = "estimate_ms")]
    pub estimate: LogTime,
    /// The worker's wall clock at that moment.
    #[serde(rename = "wall_ms")]
    pub wall: WallTime,
    /// The offset from which on the worker is a candidate for leader; the lowest offset leads.
    /// `None` if the worker is no candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_from: Option<u64>,
    /// Whether the worker leads. The leader's wall clock sets the offset to wall time.
    pub leads: bool,
    /// Number of the worker's buffered lifecycle events, whose publication the log does not record.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unannounced: u64,
    /// The number of the local queue of `status` requests that the worker consumes, which RabbitMQ 4
    /// has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_queue: Option<u64>,
}

/// Whether serde omits a number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(crate) const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The time of a log. Neither log time nor the wall time computed from it goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogClock {
    /// Log time; `None` until the first entry with a writer's state.
    now: Option<LogTime>,
    shift: Option<WallShift>,
}

impl LogClock {
    /// Creates a clock that continues from `now` and `shift`.
    #[must_use]
    pub const fn at(now: LogTime, shift: WallShift) -> Self {
        Self {
            now: Some(now),
            shift: Some(shift),
        }
    }

    /// Log time, once known.
    #[must_use]
    pub const fn now(&self) -> Option<LogTime> {
        self.now
    }

    /// The offset from log time to wall time.
    #[must_use]
    pub fn shift(&self) -> WallShift {
        self.shift.unwrap_or_default()
    }

    /// Starts the time of a new log at its first entry.
    pub fn begin(&mut self, wall: WallTime) {
        let now = *self.now.get_or_insert_default();
        self.shift.get_or_insert(WallShift::between(now, wall));
    }

    /// Applies a worker's state: advances log time to the estimate, by at most two intervals.
    pub fn apply(&mut self, writer_state: &WorkerState, interval_ms: u64) {
        let before = self.now;
        let now = match before {
            Some(now) => now.max(writer_state.estimate.min(now.plus(2 * interval_ms))),
            // The time of a truncated log continues from its readings.
            None => writer_state.estimate,
        };
        self.now = Some(now);
        let shown = WallShift::between(writer_state.estimate, writer_state.wall);
        let (Some(before), Some(shift)) = (before, self.shift) else {
            self.shift.get_or_insert(shown);
            return;
        };
        // The estimate of a worker that stalled is older than its wall clock.
        let fresh = writer_state.estimate.plus(2 * interval_ms) >= now;
        if writer_state.leads && fresh {
            // Wall time never goes back: if it is ahead, it advances at half the speed until it is
            // correct.
            let sinks_by = i64::try_from(now.since(before) / 2).unwrap_or(i64::MAX);
            let least = WallShift(shift.0.saturating_sub(sinks_by));
            self.shift = Some(shown.max(least));
        }
    }

    /// Advances wall time if a worker with the clock `wall` joins after an outage. Without workers,
    /// log time does not advance.
    pub fn join(&mut self, wall: WallTime, interval_ms: u64) {
        let (Some(now), Some(shift)) = (self.now, self.shift) else {
            return;
        };
        let late = WallTime(wall.0.saturating_sub_unsigned(5 * interval_ms));
        if late > shift.show(now) {
            self.shift = Some(WallShift::between(now, wall));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer_state(estimate: u64, wall: i64, leads: bool) -> WorkerState {
        WorkerState {
            estimate: LogTime(estimate),
            wall: WallTime(wall),
            candidate_from: None,
            leads,
            unannounced: 0,
            local_queue: None,
        }
    }

    #[test]
    fn a_reading_advances_log_time_by_at_most_two_intervals() {
        let mut clock = LogClock::default();
        clock.begin(WallTime(0));
        clock.apply(&writer_state(50, 50, false), 100);
        assert_eq!(clock.now(), Some(LogTime(50)));
        clock.apply(&writer_state(10_000, 10_000, false), 100);
        assert_eq!(clock.now(), Some(LogTime(250)));
        clock.apply(&writer_state(0, 0, false), 100);
        assert_eq!(clock.now(), Some(LogTime(250)));
    }

    #[test]
    fn the_time_of_a_truncated_log_continues_from_its_first_reading() {
        let mut clock = LogClock::default();
        clock.apply(&writer_state(7_000_000, 1_000, false), 100);
        assert_eq!(clock.now(), Some(LogTime(7_000_000)));
        assert_eq!(clock.shift().show(LogTime(7_000_000)), WallTime(1_000));
    }

    #[test]
    fn the_leader_sets_the_wall_time() {
        let mut clock = LogClock::default();
        clock.begin(WallTime(0));
        clock.apply(&writer_state(100, 3_600_100, true), 100);
        assert_eq!(clock.shift(), WallShift(3_600_000));
        clock.apply(&writer_state(200, 200, false), 100);
        assert_eq!(clock.shift(), WallShift(3_600_000));
    }

    #[test]
    fn wall_time_that_is_ahead_advances_at_half_the_speed() {
        let mut clock = LogClock::default();
        clock.begin(WallTime(0));
        clock.apply(&writer_state(100, 7_100, true), 100);
        assert_eq!(clock.shift(), WallShift(7_000));
        let mut shown = clock.shift().show(LogTime(100));
        for log in (200..=14_100).step_by(100) {
            clock.apply(&writer_state(log, log.cast_signed(), true), 100);
            let now = clock.shift().show(LogTime(log));
            assert_eq!(now.0 - shown.0, 50, "at {log}");
            shown = now;
        }
        assert_eq!(clock.shift(), WallShift(0));
        clock.apply(&writer_state(14_200, 14_200, true), 100);
        assert_eq!(clock.shift(), WallShift(0));
    }

    #[test]
    fn a_worker_that_stalled_does_not_set_the_wall_time() {
        let mut clock = LogClock::default();
        clock.begin(WallTime(0));
        for log in (100..=15_000).step_by(100) {
            clock.apply(&writer_state(log, log.cast_signed(), true), 100);
        }
        // It has read the log up to 200, and its clock is right.
        clock.apply(&writer_state(400, 15_000, true), 100);
        assert_eq!(
            (clock.now(), clock.shift()),
            (Some(LogTime(15_000)), WallShift(0))
        );
    }

    proptest::proptest! {
        #[test]
        fn log_time_and_wall_time_never_go_back(
            steps in proptest::collection::vec(
                (0..5_000_u64, -10_000_000..10_000_000_i64, 0..4_u8), 1..60,
            ),
        ) {
            let mut clock = LogClock::default();
            clock.begin(WallTime(0));
            let mut before = (LogTime(0), WallTime(0));
            for (estimate, wall, kind) in steps {
                let wall = WallTime(wall);
                match kind {
                    0 => clock.join(wall, 100),
                    1 => clock.begin(wall),
                    kind => clock.apply(&writer_state(estimate, wall.0, kind == 2), 100),
                }
                let now = clock.now().unwrap();
                let this = (now, clock.shift().show(now));
                proptest::prop_assert!(before.0 <= this.0 && before.1 <= this.1, "{before:?} {this:?}");
                before = this;
            }
        }
    }

    #[test]
    fn wall_time_catches_up_when_the_first_worker_joins_after_an_outage() {
        let mut clock = LogClock::default();
        clock.begin(WallTime(1_000));
        clock.join(WallTime(1_400), 100);
        assert_eq!(clock.shift(), WallShift(1_000));
        clock.join(WallTime(7_200_000), 100);
        assert_eq!(clock.shift(), WallShift(7_200_000));
        clock.join(WallTime(0), 100);
        assert_eq!(clock.shift(), WallShift(7_200_000));
    }
}
