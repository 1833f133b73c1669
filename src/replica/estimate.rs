//! An estimate of log time between the log's entries.

use std::time::Duration;

use crate::domain::LogTime;

/// A reading of a monotonic clock that also runs while the machine sleeps (`CLOCK_BOOTTIME`), in
/// microseconds since any fixed moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mono(pub u64);

impl Mono {
    /// Whole seconds since that moment.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Milliseconds from `earlier` to this reading; 0 if `earlier` is later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }

    /// Seconds from `earlier` to this reading, exact to the microsecond; 0 if `earlier` is later.
    #[must_use]
    pub const fn s_since(self, earlier: Self) -> f64 {
        Duration::from_micros(self.0.saturating_sub(earlier.0)).as_secs_f64()
    }
}

/// An estimate that advances with the monotonic clock. It is between the applied log time and two
/// intervals more, so that a lagging replica cannot run ahead of its log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    base: LogTime,
    at: Mono,
}

impl Estimate {
    /// The estimate at `now`, for the applied log time `log`.
    pub(super) fn read(&mut self, now: Mono, log: LogTime, interval_ms: u64) -> LogTime {
        let free = self.base.plus(now.ms_since(self.at));
        let held = free.clamp(log, log.plus(2 * interval_ms));
        if held != free {
            *self = Self {
                base: held,
                at: now,
            };
        }
        held
    }

    pub(super) fn start(&mut self, now: Mono, log: LogTime) {
        *self = Self { base: log, at: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_clock_within_bounds_of_the_log() {
        let mut c = Estimate::default();
        c.start(Mono(0), LogTime(1_000));
        let ms = |n: u64| Mono(n * 1_000);
        assert_eq!(c.read(ms(40), LogTime(1_000), 100), LogTime(1_040));
        assert_eq!(c.read(ms(5_000), LogTime(1_000), 100), LogTime(1_200));
        // From the bound, the estimate continues at the bound.
        assert_eq!(c.read(ms(5_010), LogTime(1_100), 100), LogTime(1_210));
        assert_eq!(c.read(ms(5_011), LogTime(9_000), 100), LogTime(9_000));
    }

    #[test]
    fn frequent_reading_does_not_slow_the_estimate() {
        let mut c = Estimate::default();
        c.start(Mono(0), LogTime(0));
        let mut last = LogTime(0);
        for us in (0..150_000).step_by(100) {
            last = c.read(Mono(us), LogTime(0), 100);
        }
        assert_eq!(last, LogTime(149));
    }
}
