//! Number of due events, computed from the clock, so that the next timer makes up for a late one.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Number of events due `elapsed` after the start for publisher `index` of `publishers`. The sum
/// over all publishers is exact, even at low rates.
pub(super) fn due(rate_per_s: u32, elapsed: Duration, index: usize, publishers: usize) -> u64 {
    let others = publishers - 1 - index;
    (all_due(rate_per_s, elapsed) + others as u64) / publishers as u64
}

/// Number of due events of all publishers.
pub(super) fn all_due(rate_per_s: u32, elapsed: Duration) -> u64 {
    let due = u128::from(rate_per_s) * elapsed.as_nanos() / 1_000_000_000;
    u64::try_from(due).unwrap_or(u64::MAX)
}

/// A timer that omits missed ticks.
pub(super) fn every(period: Duration) -> Interval {
    let mut timer = interval(period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    timer
}

/// The rate of `events` in `time`.
pub(super) fn per_s(events: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "rates need no more digits")]
    let events = events as f64;
    events / time.as_secs_f64().max(0.001)
}

/// Duration of the warm-up, in which connections, caches and batches settle.
pub(super) fn warm_up(step: Duration) -> Duration {
    (step / 5).min(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_share_the_rate_exactly() {
        for publishers in [1, 3, 4, 7] {
            for ms in [0, 1, 5, 333, 1_000, 59_999] {
                for rate in [1, 10, 999, 20_000] {
                    let elapsed = Duration::from_millis(ms);
                    let shares = (0..publishers).map(|i| due(rate, elapsed, i, publishers));
                    let shares: Vec<_> = shares.collect();
                    let (least, most) = (shares.iter().min(), shares.iter().max());
                    assert_eq!(shares.iter().sum::<u64>(), all_due(rate, elapsed));
                    assert!(most.unwrap() - least.unwrap() <= 1, "{shares:?}");
                }
            }
        }
    }

    #[test]
    fn a_low_rate_is_not_rounded_to_zero() {
        let after = |s| all_due(1, Duration::from_secs(s));
        assert_eq!((after(0), after(1), after(60)), (0, 1, 60));
    }

    #[test]
    fn a_long_step_warms_up_for_two_seconds_and_a_short_one_for_a_fifth() {
        assert_eq!(warm_up(Duration::from_secs(60)), Duration::from_secs(2));
        assert_eq!(warm_up(Duration::from_secs(1)), Duration::from_millis(200));
    }
}
