//! Publishing of lifecycle events by the leader.

use crate::{
    broker::{Announced, Announcer, BrokerError, Connection, Names},
    ops::PartitionMetrics,
    replica::Replica,
    worker::pending::PendingRequest,
};

/// Publishes the replica's lifecycle events. Failures do not affect requests.
pub(super) struct LifecyclePublisher {
    partition: u16,
    pub(super) announcer: Announcer,
    /// The last publication failed.
    interrupted: bool,
}

impl LifecyclePublisher {
    pub(super) fn new(partition: u16, names: &Names) -> Self {
        Self {
            partition,
            announcer: Announcer::new(&names.lifecycle()),
            interrupted: false,
        }
    }

    /// Reopens the publisher if it is closed.
    pub(super) fn maintain(&mut self, connection: &Connection) {
        if let Some(error) = self.announcer.maintain(connection) {
            self.warn(&error);
        }
    }

    /// Records the outcome of an event, and of later ones that are available.
    pub(super) fn settle(
        &mut self,
        first: (u64, Announced),
        replica: &mut Replica<PendingRequest>,
        metrics: &PartitionMetrics,
    ) {
        let mut settled = Some(first);
        while let Some((number, announced)) = settled {
            let outcome = match announced {
                Announced::Confirmed => {
                    metrics.announced.increment(1);
                    Ok(())
                }
                Announced::Refused => {
                    metrics.announcements_refused.increment(1);
                    Ok(())
                }
                Announced::Failed(error) => {
                    if let Some(error) = error {
                        self.warn(&error);
                    }
                    Err(())
                }
            };
            if outcome.is_err() && !self.interrupted {
                metrics.announcing_interrupted.increment(1);
            }
            self.interrupted = outcome.is_err();
            replica.announced(number, outcome);
            settled = self.announcer.try_next();
        }
    }

    fn warn(&self, error: &BrokerError) {
        tracing::warn!(
            partition = self.partition,
            "cannot publish lifecycle events: {error}; they are buffered until it succeeds"
        );
    }
}
