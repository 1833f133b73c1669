//! Is the process sound, and is it ready?

use std::sync::{Mutex, PoisonError};

/// One partition's state, as its worker last reported it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PartitionHealth {
    /// Connected, caught up, not lagging, not shutting down.
    pub ready: bool,
    /// The log is attached.
    pub connected: bool,
    /// Caught up since it was attached.
    pub caught_up: bool,
    /// Age of the state, in milliseconds.
    pub lag_ms: Option<u64>,
    /// What keeps it from being ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When this was reported, in milliseconds of a monotonic clock.
    #[serde(skip)]
    pub reported_at_ms: u64,
}

/// A report older than this says that its worker is stuck, in milliseconds.
const STALE_MS: u64 = 10_000;

/// The health of a worker's partitions.
#[derive(Debug, Default)]
pub struct Health {
    partitions: Mutex<Vec<PartitionHealth>>,
}

impl Health {
    /// No partition is ready yet.
    #[must_use]
    pub fn new(partitions: usize) -> Self {
        Self {
            partitions: Mutex::new(vec![PartitionHealth::default(); partitions]),
        }
    }

    /// Reports one partition.
    pub fn report(&self, partition: usize, health: PartitionHealth) {
        let mut all = self
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = all.get_mut(partition) {
            *one = health;
        }
    }

    /// Every partition, and whether all are ready.
    #[must_use]
    pub fn read(&self, now_ms: u64) -> (bool, Vec<PartitionHealth>) {
        let mut all = self
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for one in &mut all {
            if one.ready && now_ms.saturating_sub(one.reported_at_ms) > STALE_MS {
                one.ready = false;
                one.reason = Some("its worker has not reported for a while".to_owned());
            }
        }
        (!all.is_empty() && all.iter().all(|p| p.ready), all)
    }
}
