//! Copies of the replica's state for snapshots.

use std::{ops::ControlFlow, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use super::{Session, snapshot_schedule::Writer};
use crate::{
    replica::Replica,
    wire::snapshot::size_of,
    worker::{
        clock,
        metrics_reporter::as_f64,
        pending::PendingRequest,
        snapshots::{self, AccountCopy, SnapshotStep},
    },
};

/// Longest delay after a failed snapshot.
const RETRY: Duration = Duration::from_secs(30);
/// Failed snapshots in a row after which another worker takes the lead, if there is one.
const STEP_BACK_AFTER: u32 = 3;
/// Approximate size of a part before compression, in bytes. With few processors, a request may wait
/// while one is encoded.
const PART_BYTES: usize = 16 * 1024;

impl Session<'_> {
    /// Starts a task that writes a snapshot if one is due.
    pub(super) fn begin_snapshot(&mut self) {
        let (sender, steps) = mpsc::channel(1);
        let task = tokio::spawn(snapshots::write(
            self.partition.config.clone(),
            self.partition.number,
            self.snapshots.node,
            sender,
        ));
        self.snapshots.writing = Some(Writer { steps, task });
    }

    /// Handles a step of the snapshot being written.
    pub(super) fn snapshot_step(&mut self, step: Option<SnapshotStep>) {
        let partition = self.partition.number;
        let every = self
            .partition
            .replica
            .settings()
            .map_or(60_000, |s| s.snapshot_every_ms);
        let wait_ms = match step {
            Some(SnapshotStep::Found { newest, begin }) => {
                let now = self.partition.replica.log_time().unwrap_or_default();
                // A snapshot of the future belongs to another log.
                let newest = newest.filter(|newest| *newest <= now);
                let age_ms = newest.map_or(every, |newest| now.since(newest));
                if age_ms >= every {
                    let replica = &mut self.partition.replica;
                    let header = replica.begin_snapshot();
                    let _ = begin.send(header.map(|header| (header, replica.totals().accounts)));
                    return;
                }
                every - age_ms
            }
            Some(SnapshotStep::Copy { mut into, copied }) => {
                copy_part(&mut self.partition.replica, &mut into);
                let _ = copied.send(into);
                return;
            }
            Some(SnapshotStep::Copied(end)) => {
                let _ = end.send(self.partition.replica.end_snapshot());
                return;
            }
            Some(SnapshotStep::Written(written)) => {
                let (accounts, bytes, took) = (written.accounts, written.bytes, written.took);
                tracing::info!(partition, accounts, bytes, ?took, "wrote a snapshot");
                self.snapshots.failed = 0;
                self.partition.metrics.snapshots_written.increment(1);
                self.partition.metrics.snapshot_bytes.set(as_f64(bytes));
                self.partition
                    .metrics
                    .snapshot_seconds
                    .set(took.as_secs_f64());
                every
            }
            Some(SnapshotStep::Failed(error)) => {
                tracing::warn!(partition, %error, "cannot write a snapshot; retrying");
                self.partition.metrics.snapshots_failed.increment(1);
                self.partition.replica.end_snapshot();
                self.snapshots.failed += 1;
                if self.snapshots.failed.is_multiple_of(STEP_BACK_AFTER) {
                    self.partition.replica.step_back(clock::now());
                }
                every.min(u64::try_from(RETRY.as_millis()).unwrap_or(u64::MAX))
            }
            // No outcome: the replica could not be copied at that moment.
            None => {
                self.partition.replica.end_snapshot();
                every.min(1_000)
            }
        };
        self.snapshots.writing = None;
        self.snapshots.due = Instant::now() + Duration::from_millis(wait_ms);
    }
}

/// Copies the accounts of the next part.
fn copy_part(replica: &mut Replica<PendingRequest>, into: &mut Vec<AccountCopy>) {
    let mut size = 0;
    replica.copy_accounts(|key, last, account| {
        size += size_of(account);
        into.push((key.clone(), last, account.clone()));
        if size < PART_BYTES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
}
