//! Counts and measurements of a running load.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{LAG_PATIENCE, PATIENCE, reply_times::ReplyTimes};
use crate::{broker::Published, client::ClientError};

/// Outcomes of the events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LoadCounts {
    pub(super) published: u64,
    pub(super) confirmed: u64,
    /// Nacked by the broker: a queue is full, or a log has no leader.
    pub(super) refused: u64,
    /// Returned as unroutable.
    pub(super) unroutable: u64,
    /// Their connection was lost before the confirm: they may be applied or not.
    pub(super) lost: u64,
}

impl LoadCounts {
    /// True if no event is pending.
    pub(super) const fn is_settled(self) -> bool {
        self.published == self.confirmed + self.refused + self.unroutable + self.lost
    }
}

#[derive(Clone, Debug)]
pub(super) struct ProbeResults {
    pub(super) init: ReplyTimes,
    pub(super) status: ReplyTimes,
    pub(super) lag: ReplyTimes,
    pub(super) last_error: Option<ClientError>,
}

impl Default for ProbeResults {
    fn default() -> Self {
        Self {
            init: ReplyTimes::new(PATIENCE),
            status: ReplyTimes::new(PATIENCE),
            lag: ReplyTimes::new(LAG_PATIENCE),
            last_error: None,
        }
    }
}

/// Number of events applied by that time, at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeterReading {
    pub(super) at: Instant,
    pub(super) applied: u64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountsAt {
    pub(super) at: Instant,
    pub(super) counts: LoadCounts,
    pub(super) mark: MeterReading,
}

struct State {
    counts: LoadCounts,
    results: ProbeResults,
    /// Start times of the pending lag probes.
    open: BTreeMap<u64, Instant>,
    last_lag: Duration,
    /// Number of confirmed events at the start of the latest answered lag probes, in order.
    answered: Vec<u64>,
    mark: MeterReading,
}

impl State {
    fn applied(&mut self, applied: u64) {
        if applied >= self.mark.applied {
            self.mark = MeterReading {
                at: Instant::now(),
                applied,
            };
        }
    }
}

/// The counts of one step, which publishers and probes write.
pub(super) struct Meter {
    /// Number of lag probes that together cover every partition.
    together: usize,
    state: Mutex<State>,
}

impl Meter {
    /// Creates a meter that counts events as applied after `together` later lag probes were
    /// answered.
    pub(super) fn new(together: usize) -> Self {
        let mark = MeterReading {
            at: Instant::now(),
            applied: 0,
        };
        Self {
            together,
            state: Mutex::new(State {
                counts: LoadCounts::default(),
                results: ProbeResults::default(),
                open: BTreeMap::new(),
                last_lag: Duration::ZERO,
                answered: Vec::new(),
                mark,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> CountsAt {
        let state = self.state();
        CountsAt {
            at: Instant::now(),
            counts: state.counts,
            mark: state.mark,
        }
    }

    pub(super) fn published(&self, events: u64) {
        self.state().counts.published += events;
    }

    pub(super) fn settled(&self, published: Published, events: u64) {
        let counts = &mut self.state().counts;
        match published {
            Published::Confirmed => counts.confirmed += events,
            Published::Refused => counts.refused += events,
            Published::Unroutable => counts.unroutable += events,
        }
    }

    pub(super) fn lost(&self, events: u64) {
        self.state().counts.lost += events;
    }

    /// Records the reply time of a probe of one kind.
    pub(super) fn answered(
        &self,
        kind: fn(&mut ProbeResults) -> &mut ReplyTimes,
        answer: Result<Duration, ClientError>,
    ) {
        let results = &mut self.state().results;
        match answer {
            Ok(wait) => kind(results).note(wait),
            Err(error) => {
                kind(results).unanswered += 1;
                results.last_error = Some(error);
            }
        }
    }

    /// Records the start of a lag probe. Its reply proves that its partitions have applied all
    /// events confirmed now.
    pub(super) fn lag_begins(&self, number: u64) -> u64 {
        let mut state = self.state();
        state.open.insert(number, Instant::now());
        state.counts.confirmed
    }

    /// Records its end. One probe may miss a partition, so events count as applied after enough
    /// probes to cover every partition.
    pub(super) fn lag_ends(&self, number: u64, confirmed: u64, lag: Result<Duration, ClientError>) {
        let mut state = self.state();
        if let Some(began) = state.open.remove(&number) {
            state.last_lag = began.elapsed();
        }
        if lag.is_ok() {
            let at = state.answered.partition_point(|it| *it < confirmed);
            state.answered.insert(at, confirmed);
            if state.answered.len() > self.together {
                state.answered.remove(0);
            }
            if state.answered.len() == self.together {
                let least = state.answered[0];
                state.applied(least);
            }
        }
        drop(state);
        self.answered(|results| &mut results.lag, lag);
    }

    /// Records that every partition has applied this number of events.
    pub(super) fn applied(&self, applied: u64) {
        self.state().applied(applied);
    }

    /// The latest lag, or the wait of the oldest pending probe.
    pub(super) fn lag_now(&self) -> Duration {
        let state = self.state();
        let oldest = state.open.values().next().map(Instant::elapsed);
        oldest.unwrap_or_default().max(state.last_lag)
    }

    /// Results of the probes since the last call.
    pub(super) fn take_results(&self) -> ProbeResults {
        std::mem::take(&mut self.state().results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_settled_when_each_has_an_outcome() {
        let meter = Meter::new(1);
        meter.published(4);
        meter.settled(Published::Confirmed, 1);
        meter.settled(Published::Refused, 1);
        meter.settled(Published::Unroutable, 1);
        assert!(!meter.now().counts.is_settled());
        meter.lost(1);
        assert!(meter.now().counts.is_settled());
    }

    #[test]
    fn an_older_reply_does_not_lower_the_applied_count() {
        let meter = Meter::new(1);
        meter.applied(10);
        meter.applied(7);
        assert_eq!(meter.now().mark.applied, 10);
    }

    #[test]
    fn events_count_as_applied_after_enough_probes_to_cover_every_partition() {
        let meter = Meter::new(3);
        let answer = |number, confirmed, lag| {
            meter.lag_begins(number);
            meter.lag_ends(number, confirmed, lag);
            meter.now().mark.applied
        };
        let answered = || Ok(Duration::from_millis(2));
        assert_eq!(answer(1, 100, answered()), 0);
        // Replies arrive in any order.
        assert_eq!(answer(3, 300, answered()), 0);
        let unanswered = Err(ClientError::NoAnswer(LAG_PATIENCE));
        assert_eq!(answer(4, 400, unanswered), 0);
        assert_eq!(answer(2, 200, answered()), 100);
        assert_eq!(answer(5, 500, answered()), 200);
        meter.applied(500);
        assert_eq!(answer(6, 600, answered()), 500, "the count never falls");
    }
}
