//! What is counted and measured while a load runs.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::{broker::Published, client::ClientError};

/// What became of the events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) confirmed: u64,
    /// The broker refused them: a queue is full, or a log has no leader.
    pub(super) refused: u64,
    /// No queue takes them.
    pub(super) unroutable: u64,
    /// Their connection was lost before their confirm came: they may count or not.
    pub(super) lost: u64,
}

impl Counts {
    /// Nothing is on its way any more.
    pub(super) const fn is_settled(self) -> bool {
        self.published == self.confirmed + self.refused + self.unroutable + self.lost
    }
}

/// How long answers took.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    us: Histogram<u64>,
    pub(super) unanswered: u64,
}

impl Default for Waits {
    fn default() -> Self {
        // It grows as it needs to. Three digits are more than a run repeats.
        let us = Histogram::new(3).expect("three digits are allowed");
        Self { us, unanswered: 0 }
    }
}

impl Waits {
    fn note(&mut self, wait: Option<Duration>) {
        match wait {
            Some(wait) => {
                let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
                // It cannot fail: it grows.
                let _ = self.us.record(us.max(1));
            }
            None => self.unanswered += 1,
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.us.len()
    }

    /// In milliseconds; `None` where nothing was answered.
    pub(super) fn percentile_ms(&self, percentile: f64) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "hours in microseconds are exact"
        )]
        let ms = |us: u64| us as f64 / 1_000.0;
        (self.answered() > 0).then(|| ms(self.us.value_at_percentile(percentile)))
    }
}

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Init,
    Status,
    Lag,
}

/// All that the probes found.
#[derive(Clone, Debug, Default)]
pub(super) struct Probed {
    pub(super) init: Waits,
    pub(super) status: Waits,
    pub(super) lag: Waits,
    pub(super) last_error: Option<ClientError>,
}

/// So many events were known to be applied by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) at: Instant,
    pub(super) applied: u64,
}

struct State {
    probed: Probed,
    /// When the lag probes began that have no answer yet.
    open: BTreeMap<u64, Instant>,
    last_lag: Duration,
    mark: Mark,
}

/// The counts of one step: publishers and probes write, everybody reads.
pub(super) struct Meter {
    published: AtomicU64,
    confirmed: AtomicU64,
    refused: AtomicU64,
    unroutable: AtomicU64,
    lost: AtomicU64,
    state: Mutex<State>,
}

impl Meter {
    pub(super) fn new() -> Self {
        let mark = Mark {
            at: Instant::now(),
            applied: 0,
        };
        Self {
            published: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unroutable: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            state: Mutex::new(State {
                probed: Probed::default(),
                open: BTreeMap::new(),
                last_lag: Duration::ZERO,
                mark,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Counts {
        // What is settled was published before: read in this order, nothing is settled too early.
        let (confirmed, refused) = (self.confirmed.load(Relaxed), self.refused.load(Relaxed));
        let (unroutable, lost) = (self.unroutable.load(Relaxed), self.lost.load(Relaxed));
        Counts {
            published: self.published.load(Relaxed),
            confirmed,
            refused,
            unroutable,
            lost,
        }
    }

    pub(super) fn published(&self, events: u64) {
        self.published.fetch_add(events, Relaxed);
    }

    pub(super) fn settled(&self, published: Published) {
        let counter = match published {
            Published::Confirmed => &self.confirmed,
            Published::Refused => &self.refused,
            Published::Unroutable => &self.unroutable,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn lost(&self, events: u64) {
        self.lost.fetch_add(events, Relaxed);
    }

    pub(super) fn answered(&self, probe: Probe, answer: Result<Duration, ClientError>) {
        let probed = &mut self.state().probed;
        let waits = match probe {
            Probe::Init => &mut probed.init,
            Probe::Status => &mut probed.status,
            Probe::Lag => &mut probed.lag,
        };
        match answer {
            Ok(wait) => waits.note(Some(wait)),
            Err(error) => {
                waits.note(None);
                probed.last_error = Some(error);
            }
        }
    }

    /// A lag probe begins. What is confirmed now is applied once it is answered.
    pub(super) fn lag_begins(&self, number: u64) -> u64 {
        self.state().open.insert(number, Instant::now());
        self.counts().confirmed
    }

    /// It ended: every partition that was asked has applied what was confirmed when it began.
    pub(super) fn lag_ends(&self, number: u64, confirmed: u64, lag: Result<Duration, ClientError>) {
        if lag.is_ok() {
            self.applied(confirmed);
        }
        self.closed(number);
        self.answered(Probe::Lag, lag);
    }

    fn closed(&self, number: u64) {
        let mut state = self.state();
        if let Some(began) = state.open.remove(&number) {
            state.last_lag = began.elapsed();
        }
    }

    pub(super) fn applied(&self, applied: u64) {
        let mut state = self.state();
        if applied >= state.mark.applied {
            state.mark = Mark {
                at: Instant::now(),
                applied,
            };
        }
    }

    pub(super) fn mark(&self) -> Mark {
        self.state().mark
    }

    /// The last lag, or for how long the oldest question has waited.
    pub(super) fn lag_now(&self) -> Duration {
        let state = self.state();
        let oldest = state.open.values().next().map(Instant::elapsed);
        oldest.unwrap_or_default().max(state.last_lag)
    }

    /// What was probed since the last call.
    pub(super) fn take_probed(&self) -> Probed {
        std::mem::take(&mut self.state().probed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_milliseconds_and_the_unanswered_are_not_among_them() {
        let mut waits = Waits::default();
        assert_eq!(waits.percentile_ms(50.0), None);
        (1..=100).for_each(|ms| waits.note(Some(Duration::from_millis(ms))));
        waits.note(None);
        let near = |percentile, ms: f64| {
            let said = waits.percentile_ms(percentile).unwrap();
            assert!((said - ms).abs() < ms / 500.0, "p{percentile}: {said}");
        };
        near(50.0, 50.0);
        near(99.0, 99.0);
        near(100.0, 100.0);
        assert_eq!((waits.answered(), waits.unanswered), (100, 1));
    }

    #[test]
    fn events_are_settled_when_something_became_of_each() {
        let meter = Meter::new();
        meter.published(4);
        meter.settled(Published::Confirmed);
        meter.settled(Published::Refused);
        meter.settled(Published::Unroutable);
        assert!(!meter.counts().is_settled());
        meter.lost(1);
        assert!(meter.counts().is_settled());
    }

    #[test]
    fn an_older_answer_does_not_take_back_what_was_applied() {
        let meter = Meter::new();
        meter.applied(10);
        meter.applied(7);
        assert_eq!(meter.mark().applied, 10);
    }
}
