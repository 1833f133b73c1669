//! How fast counters grow.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::worker_metrics::{OfLog, OfWorker, WorkerMetrics};

/// Over how long a rate is taken: long enough not to jump, short enough to follow.
const WINDOW: Duration = Duration::from_secs(10);
/// Most pages that are remembered.
const MOST: usize = 64;

/// A page's counters, and when they were read.
#[derive(Debug)]
struct CounterSample {
    at: Duration,
    of_log: BTreeMap<u16, [u64; OfLog::COUNT]>,
    of_worker: [u64; OfWorker::COUNT],
}

/// One worker's counters of the last moments.
#[derive(Debug, Default)]
pub(super) struct Readings(VecDeque<CounterSample>);

/// Per second, each in the place of its counter.
pub(super) type Rates<const N: usize> = [f64; N];

impl Readings {
    /// Takes a page that was read at `at`.
    pub(super) fn take(&mut self, at: Duration, page: &WorkerMetrics) {
        let counted = |(partition, replica): (&u16, &super::worker_metrics::Replica)| {
            Some((*partition, replica.counted?))
        };
        self.0.push_back(CounterSample {
            at,
            of_log: page.replicas.iter().filter_map(counted).collect(),
            of_worker: page.counted,
        });
        // Two at least, however long the interval.
        while self.0.len() > MOST || (self.0.len() > 2 && self.0[1].at + WINDOW <= at) {
            self.0.pop_front();
        }
    }

    /// The worker does not answer: what it counts next has another beginning.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// What it does itself.
    pub(super) fn of_worker(&self) -> Option<Rates<{ OfWorker::COUNT }>> {
        self.rates(|reading| Some(&reading.of_worker))
    }

    /// What its replica of a partition has seen in the log.
    pub(super) fn of_log(&self, partition: u16) -> Option<Rates<{ OfLog::COUNT }>> {
        self.rates(|reading| reading.of_log.get(&partition))
    }

    fn rates<const N: usize>(
        &self,
        of: impl Fn(&CounterSample) -> Option<&[u64; N]>,
    ) -> Option<Rates<N>> {
        let mut grown = [0_u64; N];
        let mut time = Duration::ZERO;
        for (before, after) in self.0.iter().zip(self.0.iter().skip(1)) {
            let (Some(old), Some(new)) = (of(before), of(after)) else {
                continue;
            };
            time += after.at.saturating_sub(before.at);
            for (grown, (old, new)) in grown.iter_mut().zip(old.iter().zip(new)) {
                // One that is less has begun anew, at 0.
                *grown += new.checked_sub(*old).unwrap_or(*new);
            }
        }
        let per_second = |n: u64| float(n) / time.as_secs_f64();
        (!time.is_zero()).then(|| grown.map(per_second))
    }
}

/// Exact as far as anything counts in ten seconds.
fn float(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::worker_metrics::Replica;
    use super::*;

    fn page(heartbeats: Option<u64>, init: u64) -> WorkerMetrics {
        let replica = Replica {
            counted: heartbeats.map(|n| [n, 0, 0, 0, 0, 0, 0]),
            ..Replica::default()
        };
        WorkerMetrics {
            replicas: BTreeMap::from([(3, replica)]),
            counted: [init, 0, 0],
            ..WorkerMetrics::default()
        }
    }

    fn after(pages: &[(u64, WorkerMetrics)]) -> (Option<f64>, Option<f64>) {
        let mut readings = Readings::default();
        for (at, page) in pages {
            readings.take(Duration::from_secs(*at), page);
        }
        let log = readings
            .of_log(3)
            .map(|rates| rates[OfLog::Heartbeats as usize]);
        let worker = readings.of_worker();
        (
            log,
            worker.map(|rates| rates[OfWorker::InitAnswered as usize]),
        )
    }

    #[test]
    fn a_rate_needs_two_readings() {
        assert_eq!(after(&[(0, page(Some(1), 1))]), (None, None));
        let two = [(0, page(Some(1), 1)), (2, page(Some(21), 3))];
        assert_eq!(after(&two), (Some(10.0), Some(1.0)));
    }

    #[test]
    fn a_counter_that_begins_anew_counts_from_nothing() {
        let restarted = [
            (0, page(Some(1_000), 500)),
            (2, page(Some(1_010), 510)),
            (4, page(Some(6), 2)),
        ];
        assert_eq!(after(&restarted), (Some(4.0), Some(3.0)));
    }

    #[test]
    fn a_replica_that_catches_up_brings_no_burst() {
        let caught_up = [
            (0, page(Some(1_000), 0)),
            (2, page(None, 0)),
            (4, page(Some(9_000), 0)),
            (6, page(Some(9_010), 0)),
        ];
        assert_eq!(after(&caught_up).0, Some(5.0));
    }

    #[test]
    fn a_rate_is_of_the_last_moments() {
        let mut pages: Vec<_> = (0..=60).map(|s| (s, page(Some(s * 100), 0))).collect();
        pages.extend((61..=75).map(|s| (s, page(Some(6_000), 0))));
        assert_eq!(after(&pages).0, Some(0.0));
        // Two readings are enough, whatever lies between them.
        let rare = [
            (0, page(Some(0), 0)),
            (60, page(Some(60), 0)),
            (120, page(Some(180), 0)),
        ];
        assert_eq!(after(&rare).0, Some(2.0));
    }
}
