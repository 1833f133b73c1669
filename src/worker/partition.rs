//! The part of a partition's state that outlives the sessions.

use std::sync::Arc;

use super::{
    Config, clock, metrics_reporter::MetricsReporter, pending::PendingRequest,
    throttle::PartitionThrottle,
};
use crate::{
    ops::{Health, PartitionMetrics},
    replica::Replica,
};

/// A partition that a worker follows.
pub(super) struct Partition {
    pub(super) number: u16,
    /// Number of partitions.
    pub(super) partitions: u16,
    /// Consumes messages of unknown kinds, which belong to no partition.
    pub(super) takes_unrouted: bool,
    pub(super) config: Config,
    pub(super) replica: Replica<PendingRequest>,
    pub(super) metrics: PartitionMetrics,
    pub(super) reporter: MetricsReporter,
    pub(super) throttle: PartitionThrottle,
    pub(super) health: Arc<Health>,
}

impl Partition {
    /// Adopts the limits of requests in force, and the number of workers that share them.
    pub(super) fn set_limits(&mut self) {
        let workers = self.replica.workers(clock::mono());
        if let Some(settings) = self.replica.settings() {
            self.throttle.set(settings, workers);
        }
    }

    /// Updates the metrics that are computed from the replica.
    pub(super) fn report_metrics(&mut self) {
        self.reporter
            .report(&self.replica, &self.metrics, clock::mono());
    }
}
