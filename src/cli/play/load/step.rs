//! The result of one step, and whether its rate holds.

use std::time::Duration;

use super::{
    meter::{LoadCounts, ProbeResults},
    pace,
    reply_times::ReplyTime,
};
use crate::client::ClientError;

/// The result of publishing at a rate for some time.
pub(super) struct Step {
    pub(super) rate_per_s: u32,
    /// Duration of publishing.
    pub(super) published_for: Duration,
    /// Counts of the whole step.
    pub(super) counts: LoadCounts,
    pub(super) applied: u64,
    /// Counts after the warm-up.
    pub(super) published_per_s: f64,
    pub(super) confirmed_per_s: f64,
    pub(super) applied_per_s: f64,
    pub(super) results: ProbeResults,
    /// Time of the last event.
    pub(super) lag_at_end: Duration,
    /// Time from the last event until all were applied; `None` if that was not observed.
    pub(super) applied_after: Option<Duration>,
    /// The error that ended the step early.
    pub(super) error: Option<ClientError>,
    pub(super) interrupted: bool,
}

impl Step {
    /// Number of events that should have been published.
    pub(super) fn requested(&self) -> u64 {
        pace::all_due(self.rate_per_s, self.published_for)
    }

    /// True if every published event was confirmed and applied.
    pub(super) fn is_whole(&self) -> bool {
        let counts = self.counts;
        let confirmed = counts.published == counts.confirmed;
        self.error.is_none() && confirmed && counts.confirmed == self.applied
    }

    /// The longest lag of the probes and at the end.
    pub(super) fn most_lag(&self) -> ReplyTime {
        let at_end = ReplyTime {
            time: self.lag_at_end,
            at_least: false,
        };
        let results = self.results.lag.percentile(100);
        results.map_or(at_end, |results| results.max(at_end))
    }

    /// True if the rate holds: almost all requested events were confirmed, and the workers kept up
    /// all the time. A worker that stalls and catches up later does not keep up. `false` if the
    /// step ended early.
    pub(super) fn holds(&self) -> bool {
        let reached = self.confirmed_per_s >= 0.95 * f64::from(self.rate_per_s);
        let in_time = |lag| lag < Duration::from_secs(1);
        // A probe without a reply waited longer.
        let keeps_up = in_time(self.most_lag().time) && self.applied_after.is_some_and(in_time);
        reached && keeps_up && self.error.is_none() && !self.interrupted
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::play::load::{LAG_PATIENCE, meter::Meter};

    /// Results with these lags.
    fn results(lags: Vec<Result<Duration, ClientError>>) -> ProbeResults {
        let meter = Meter::new(1);
        let answered = || Ok(Duration::from_millis(3));
        meter.answered(|results| &mut results.init, answered());
        meter.answered(|results| &mut results.status, answered());
        for lag in lags {
            meter.answered(|results| &mut results.lag, lag);
        }
        meter.take_results()
    }

    /// A thousand events in two seconds without problems.
    pub(in super::super) fn step() -> Step {
        Step {
            rate_per_s: 500,
            published_for: Duration::from_secs(2),
            counts: LoadCounts {
                published: 1_000,
                confirmed: 1_000,
                ..LoadCounts::default()
            },
            applied: 1_000,
            published_per_s: 500.0,
            confirmed_per_s: 499.6,
            applied_per_s: 499.123_456,
            results: results(vec![Ok(Duration::from_millis(3))]),
            lag_at_end: Duration::from_millis(30),
            applied_after: Some(Duration::from_micros(2_600)),
            error: None,
            interrupted: false,
        }
    }

    /// The step, but with one of three lag probes unanswered.
    pub(in super::super) fn unanswered() -> Step {
        let answered = || Ok(Duration::from_millis(3));
        let none = Err(ClientError::NoAnswer(LAG_PATIENCE));
        Step {
            results: results(vec![answered(), none, answered()]),
            ..step()
        }
    }

    #[test]
    fn a_rate_holds_that_is_confirmed_and_applied_in_time() {
        assert!(step().holds());
    }

    #[test]
    fn a_step_too_short_for_a_lag_probe_is_judged_by_its_end() {
        let short = || Step {
            results: results(vec![]),
            ..step()
        };
        assert!(short().holds());
        let late = Step {
            applied_after: Some(Duration::from_secs(1)),
            ..short()
        };
        assert!(!late.holds());
    }

    #[test]
    fn a_rate_with_missing_confirms_does_not_hold() {
        let slow = Step {
            confirmed_per_s: 470.0,
            ..step()
        };
        assert!(!slow.holds());
    }

    #[test]
    fn a_rate_with_lag_at_the_end_does_not_hold() {
        let behind = Step {
            lag_at_end: Duration::from_secs(1),
            ..step()
        };
        let late = Step {
            applied_after: Some(Duration::from_secs(1)),
            ..step()
        };
        let unseen = Step {
            applied_after: None,
            ..step()
        };
        assert!([behind, late, unseen].iter().all(|step| !step.holds()));
    }

    #[test]
    fn a_rate_with_a_stall_does_not_hold() {
        let stood_still = Step {
            results: results(vec![
                Ok(Duration::from_millis(3)),
                Ok(Duration::from_secs(4)),
                Ok(Duration::from_millis(3)),
            ]),
            ..step()
        };
        assert!(!stood_still.holds());
        assert!(!stood_still.most_lag().at_least);
    }

    #[test]
    fn a_lag_probe_without_an_answer_does_not_hold() {
        let unanswered = unanswered();
        assert!(!unanswered.holds());
        let most = ReplyTime {
            time: LAG_PATIENCE,
            at_least: true,
        };
        assert_eq!(unanswered.most_lag(), most);
    }

    #[test]
    fn a_step_that_ended_early_does_not_hold() {
        let lost = Step {
            error: Some(ClientError::NotTaken(Duration::from_secs(10))),
            ..step()
        };
        let interrupted = Step {
            interrupted: true,
            ..step()
        };
        assert!([lost, interrupted].iter().all(|step| !step.holds()));
    }
}
