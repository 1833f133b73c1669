//! One partition: its sessions with the broker, one after another, until shutdown.

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    clock,
    partition::Partition,
    retry::Retry,
    session::{Session, SessionError},
    snapshots,
};
use crate::{
    broker::{BrokerError, Replies},
    ops::PartitionHealth,
    replica::Fault,
};

/// Failed attempts to read the snapshots after which the log is read without one.
const MOST_FAILED: u32 = 5;
/// Most snapshots remembered as belonging to another log.
const MOST_REJECTED: usize = 16;

/// Serves one partition until shutdown.
pub(super) struct PartitionTask {
    partition: Partition,
    replies: Replies,
    snapshot: Snapshot,
}

/// The snapshot that the replica was restored from, and those of another log.
#[derive(Debug, Default)]
struct Snapshot {
    /// `None` once the replica has caught up.
    loaded: Option<Uuid>,
    rejected: Vec<Uuid>,
    /// Failed attempts in a row to read a snapshot.
    failed: u32,
}

impl PartitionTask {
    pub(super) fn new(partition: Partition, replies: Replies) -> Self {
        Self {
            partition,
            replies,
            snapshot: Snapshot::default(),
        }
    }

    pub(super) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let number = self.partition.number;
        let mut retry = Retry::new(
            "the partition is interrupted",
            Some(number),
            &self.partition.config.addresses,
        );
        while let Err(end) = self.session(retry.failures, &mut shutdown).await {
            self.judge_snapshot(&end);
            self.partition.replica.detach();
            self.partition.metrics.reconnects.increment(1);
            self.partition.reporter.detached();
            if matches!(end, SessionError::Fault(Fault::AnotherLog)) {
                self.partition.metrics.started_over.increment(1);
                self.partition.reporter.forget();
            }
            tokio::select! {
                () = retry.after(&end, |reason| self.report(reason)) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Rejects the replica's snapshot if it belongs to another log.
    fn judge_snapshot(&mut self, end: &SessionError) {
        let another = matches!(end, SessionError::Fault(Fault::AnotherLog));
        if self.partition.replica.has_caught_up() {
            self.snapshot.loaded = None;
        } else if another && let Some(id) = self.snapshot.loaded.take() {
            if self.snapshot.rejected.len() == MOST_REJECTED {
                self.snapshot.rejected.remove(0);
            }
            self.snapshot.rejected.push(id);
        }
    }

    /// Restores the newest snapshot; starts without one if there is none, or if the broker does not
    /// deliver it.
    async fn restore(&mut self, n: usize) -> Result<(), BrokerError> {
        let partition = self.partition.number;
        let began = clock::now().mono;
        self.report("reading the newest snapshot".to_owned());
        let rejected = &self.snapshot.rejected;
        match snapshots::load(&self.partition.config, partition, n, rejected).await {
            Ok(Some(loaded)) => {
                let took_ms = clock::now().mono.ms_since(began);
                let (accounts, start) = (loaded.accounts, loaded.snapshot.header().start);
                tracing::info!(partition, accounts, start, took_ms, "restored a snapshot");
                self.partition.metrics.snapshots_restored.increment(1);
                self.snapshot.loaded = Some(loaded.id);
                let replica = &mut self.partition.replica;
                replica.restore(loaded.snapshot, loaded.trailer);
            }
            Ok(None) => tracing::info!(partition, "no snapshot; reading the whole log"),
            Err(error @ BrokerError::NotFound(_)) => {
                tracing::warn!(partition, %error, "no snapshot log; reading the whole log");
            }
            Err(error) if self.snapshot.failed < MOST_FAILED => {
                self.snapshot.failed += 1;
                return Err(error);
            }
            // Serving what the log still has is better than not serving.
            Err(error) => {
                tracing::error!(partition, %error, "cannot read the snapshots; reading the whole log");
            }
        }
        self.snapshot.failed = 0;
        Ok(())
    }

    async fn open(&mut self, n: usize) -> Result<Session<'_>, BrokerError> {
        if self.partition.replica.is_blank() {
            self.restore(n).await?;
        }
        Session::open(&mut self.partition, n, self.replies.clone()).await
    }

    /// Runs one session, until shutdown or an error.
    async fn session(
        &mut self,
        n: usize,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), SessionError> {
        let opening = self.open(n);
        let session = tokio::select! {
            opened = opening => opened?,
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
        };
        session.run(shutdown).await
    }

    /// Reports that the partition is not ready.
    fn report(&self, reason: String) {
        let health = PartitionHealth {
            partition: self.partition.number,
            reason: Some(reason),
            reported_at_ms: clock::ms(),
            ..PartitionHealth::default()
        };
        self.partition.health.report(health);
    }
}
