//! Reply times, with lower bounds for missing replies.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The time of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReplyTime {
    pub(super) time: Duration,
    /// No reply arrived in this time, so it is a lower bound.
    pub(super) at_least: bool,
}

/// The reply times of one kind of probe. Probes without a reply count as the longest times, as missing
/// replies would otherwise improve the percentiles.
#[derive(Clone, Debug)]
pub(super) struct ReplyTimes {
    us: Histogram<u64>,
    pub(super) unanswered: u64,
    /// The timeout of replies.
    patience: Duration,
}

impl ReplyTimes {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            // It grows automatically. Three digits are more precise than a run is repeatable.
            us: Histogram::new(3).expect("three digits are allowed"),
            unanswered: 0,
            patience,
        }
    }

    pub(super) fn note(&mut self, wait: Duration) {
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        // Cannot fail, as it grows.
        let _ = self.us.record(us.max(1));
    }

    pub(super) fn answered(&self) -> u64 {
        self.us.len()
    }

    /// The given percentile of the reply times; `None` without probes.
    pub(super) fn percentile(&self, percent: u64) -> Option<ReplyTime> {
        let asked = self.answered() + self.unanswered;
        let rank = (asked * percent).div_ceil(100).max(1);
        if rank > self.answered() {
            return (asked > 0).then_some(ReplyTime {
                time: self.patience,
                at_least: true,
            });
        }
        let mut passed = 0;
        let mut reply_times = self.us.iter_recorded();
        let wait = reply_times.find(|wait| {
            passed += wait.count_since_last_iteration();
            passed >= rank
        })?;
        Some(ReplyTime {
            time: Duration::from_micros(wait.value_iterated_to()),
            at_least: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn to_100_ms() -> ReplyTimes {
        let mut reply_times = ReplyTimes::new(PATIENCE);
        (1..=100).for_each(|ms| reply_times.note(Duration::from_millis(ms)));
        reply_times
    }

    #[test]
    fn a_percentile_is_an_observed_time() {
        assert_eq!(ReplyTimes::new(PATIENCE).percentile(50), None);
        let reply_times = to_100_ms();
        for percent in [1_u32, 50, 90, 99, 100] {
            let wait = reply_times.percentile(percent.into()).unwrap();
            let (ms, near) = (wait.time.as_secs_f64() * 1_000.0, f64::from(percent));
            assert!((ms - near).abs() < near / 500.0, "p{percent}: {wait:?}");
            assert!(!wait.at_least);
        }
    }

    #[test]
    fn probes_without_a_reply_count_as_the_longest() {
        let mut reply_times = to_100_ms();
        reply_times.unanswered += 1;
        assert_eq!((reply_times.answered(), reply_times.unanswered), (100, 1));
        assert!(!reply_times.percentile(99).unwrap().at_least);
        let unknown = Some(ReplyTime {
            time: PATIENCE,
            at_least: true,
        });
        assert_eq!(reply_times.percentile(100), unknown);

        reply_times.unanswered += 1_100;
        for percent in [50, 90, 99, 100] {
            assert_eq!(
                reply_times.percentile(percent),
                unknown,
                "survivors alone count"
            );
        }
    }

    #[test]
    fn without_replies_every_percentile_is_a_lower_bound() {
        let mut reply_times = ReplyTimes::new(PATIENCE);
        reply_times.unanswered += 1;
        assert!(reply_times.percentile(50).unwrap().at_least);
    }
}
