//! State of the simulated viewers, with which replies are compared.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    client::{AccountId, StreamId},
    domain::Settings,
};

/// Tolerance of a stream's expiry, for messages in transit.
const SLACK: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ViewerState {
    /// Its `init` or `stop` is in transit: it may be active or not.
    Changing,
    /// A worker opened it, and its heartbeats are sent.
    Playing,
    /// Time at which it stopped sending heartbeats.
    Crashed(Instant),
}

#[derive(Debug, Default)]
struct Account {
    /// Number of changes. A reply is compared only if the account did not change during the
    /// request.
    version: u64,
    streams: HashMap<StreamId, ViewerState>,
}

/// Numbers of wrong streams in a reply.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) missing: usize,
    /// Streams that have ended.
    pub(super) over_counted: usize,
}

/// Counts of the comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct ViewerCounts {
    pub(super) opened: u64,
    pub(super) refused: u64,
    pub(super) stopped: u64,
    pub(super) crashed: u64,
    pub(super) playing: u64,
}

impl ViewerCounts {
    pub(super) fn line(&self) -> String {
        format!(
            "{} playing   opened {}, refused {}, stopped {}, crashed {}",
            self.playing, self.opened, self.refused, self.stopped, self.crashed
        )
    }
}

pub(super) struct ExpectedStreams {
    accounts: Vec<Mutex<Account>>,
    counts: Mutex<ViewerCounts>,
    /// Time after which a silent stream has expired.
    gone_after: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ExpectedStreams {
    pub(super) fn new(accounts: usize, ttl: Duration) -> Self {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let intervals = Duration::from_millis(2 * Settings::interval_for(ttl_ms));
        Self {
            accounts: (0..accounts).map(|_| Mutex::default()).collect(),
            counts: Mutex::default(),
            gone_after: ttl + intervals + SLACK,
        }
    }

    /// The name of account `number`.
    pub(super) fn name(number: usize) -> AccountId {
        AccountId::new(&format!("viewer-{number:03}")).expect("letters and digits")
    }

    pub(super) fn counts(&self) -> ViewerCounts {
        *lock(&self.counts)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut ViewerCounts)) {
        change(&mut lock(&self.counts));
    }

    pub(super) fn set(&self, account: usize, stream: StreamId, state: Option<ViewerState>) {
        let mut account = lock(&self.accounts[account]);
        account.version += 1;
        match state {
            Some(state) => account.streams.insert(stream, state),
            None => account.streams.remove(&stream),
        };
    }

    pub(super) fn version(&self, account: usize) -> u64 {
        lock(&self.accounts[account]).version
    }

    /// Compares `counted` with the expected streams. `None` if the account changed since `version`.
    pub(super) fn compare(
        &self,
        account: usize,
        version: u64,
        counted: impl Iterator<Item = StreamId>,
    ) -> Option<Difference> {
        let account = lock(&self.accounts[account]);
        if account.version != version {
            return None;
        }
        let counted: Vec<_> = counted.collect();
        let missing = account.streams.iter();
        let missing =
            missing.filter(|(id, state)| **state == ViewerState::Playing && !counted.contains(id));
        let over_counted = counted.iter().filter(|id| match account.streams.get(id) {
            Some(ViewerState::Playing | ViewerState::Changing) => false,
            Some(ViewerState::Crashed(at)) => at.elapsed() > self.gone_after,
            None => true,
        });
        Some(Difference {
            missing: missing.count(),
            over_counted: over_counted.count(),
        })
    }

    /// Time after which silent streams have expired and stops are no longer retried.
    pub(super) fn settled_after(&self) -> Duration {
        self.gone_after + Duration::from_secs(35)
    }

    /// True if no change is pending and the streams of crashed viewers must have expired.
    pub(super) fn is_still(&self) -> bool {
        self.accounts.iter().all(|account| {
            let account = lock(account);
            account.streams.values().all(|state| match state {
                ViewerState::Changing => false,
                ViewerState::Playing => true,
                ViewerState::Crashed(at) => at.elapsed() > self.gone_after,
            })
        })
    }
}
