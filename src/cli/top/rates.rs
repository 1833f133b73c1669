//! Rates of counters.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::worker_metrics::{Counts, ReplicaMetrics, WorkerMetrics};

/// Time window of rates: long enough to be smooth, short enough to follow changes.
const WINDOW: Duration = Duration::from_secs(10);
/// Most stored pages.
const MOST: usize = 64;

/// A page's counters and the time of reading.
#[derive(Debug)]
struct CounterSample {
    at: Duration,
    log: BTreeMap<u16, Counts<u64>>,
    worker: Counts<u64>,
}

/// One worker's recent counters.
#[derive(Debug, Default)]
pub(super) struct Readings(VecDeque<CounterSample>);

impl Readings {
    /// Takes a page that was read at `at`.
    pub(super) fn take(&mut self, at: Duration, page: &WorkerMetrics) {
        let counted =
            |(partition, replica): (&u16, &ReplicaMetrics)| Some((*partition, replica.counted?));
        self.0.push_back(CounterSample {
            at,
            log: page.replicas.iter().filter_map(counted).collect(),
            worker: page.counted,
        });
        // At least two pages, for any interval.
        while self.0.len() > MOST || (self.0.len() > 2 && self.0[1].at + WINDOW <= at) {
            self.0.pop_front();
        }
    }

    /// Discards the pages of a worker that does not respond, as it may restart.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Rates of the worker's own counters.
    pub(super) fn worker(&self) -> Option<Counts<f64>> {
        self.rates(|reading| Some(&reading.worker))
    }

    /// Rates of the log's counters in its replica of a partition.
    pub(super) fn log(&self, partition: u16) -> Option<Counts<f64>> {
        self.rates(|reading| reading.log.get(&partition))
    }

    fn rates(&self, of: impl Fn(&CounterSample) -> Option<&Counts<u64>>) -> Option<Counts<f64>> {
        let mut grown = Counts::<u64>::default();
        let mut time = Duration::ZERO;
        for (before, after) in self.0.iter().zip(self.0.iter().skip(1)) {
            let (Some(old), Some(new)) = (of(before), of(after)) else {
                continue;
            };
            time += after.at.saturating_sub(before.at);
            for (grown, (old, new)) in grown.iter_mut().zip(old.iter().zip(new)) {
                // A smaller value means a restart at 0.
                *grown += new.checked_sub(*old).unwrap_or(*new);
            }
        }
        let per_second = |n: u64| float(n) / time.as_secs_f64();
        (!time.is_zero()).then(|| grown.map(per_second))
    }
}

/// Exact for the counts of ten seconds.
fn float(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{super::worker_metrics::Counter, *};

    fn page(heartbeats: Option<u64>, init: u64) -> WorkerMetrics {
        let replica = ReplicaMetrics {
            counted: heartbeats.map(|n| [n, 0, 0, 0, 0, 0, 0, 0, 0]),
            ..ReplicaMetrics::default()
        };
        WorkerMetrics {
            replicas: BTreeMap::from([(3, replica)]),
            counted: [0, 0, 0, 0, 0, 0, init, 0, 0],
            ..WorkerMetrics::default()
        }
    }

    fn after(pages: &[(u64, WorkerMetrics)]) -> (Option<f64>, Option<f64>) {
        let mut readings = Readings::default();
        for (at, page) in pages {
            readings.take(Duration::from_secs(*at), page);
        }
        let log = readings
            .log(3)
            .map(|rates| rates[Counter::Heartbeats as usize]);
        let worker = readings.worker();
        (
            log,
            worker.map(|rates| rates[Counter::InitAnswered as usize]),
        )
    }

    #[test]
    fn a_rate_needs_two_readings() {
        assert_eq!(after(&[(0, page(Some(1), 1))]), (None, None));
        let two = [(0, page(Some(1), 1)), (2, page(Some(21), 3))];
        assert_eq!(after(&two), (Some(10.0), Some(1.0)));
    }

    #[test]
    fn a_counter_that_was_reset_counts_from_zero() {
        let restarted = [
            (0, page(Some(1_000), 500)),
            (2, page(Some(1_010), 510)),
            (4, page(Some(6), 2)),
        ];
        assert_eq!(after(&restarted), (Some(4.0), Some(3.0)));
    }

    #[test]
    fn a_replica_that_catches_up_causes_no_burst() {
        let caught_up = [
            (0, page(Some(1_000), 0)),
            (2, page(None, 0)),
            (4, page(Some(9_000), 0)),
            (6, page(Some(9_010), 0)),
        ];
        assert_eq!(after(&caught_up).0, Some(5.0));
    }

    #[test]
    fn a_rate_covers_the_last_seconds() {
        let mut pages: Vec<_> = (0..=60).map(|s| (s, page(Some(s * 100), 0))).collect();
        pages.extend((61..=75).map(|s| (s, page(Some(6_000), 0))));
        assert_eq!(after(&pages).0, Some(0.0));
        // Two readings suffice, at any distance.
        let rare = [
            (0, page(Some(0), 0)),
            (60, page(Some(60), 0)),
            (120, page(Some(180), 0)),
        ];
        assert_eq!(after(&rare).0, Some(2.0));
    }
}
