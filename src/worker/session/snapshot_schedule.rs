//! The schedule of snapshots.

use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use crate::worker::snapshots::SnapshotStep;

/// The snapshots of a session.
pub(super) struct Snapshots {
    /// Index of the address to connect to.
    pub(super) node: usize,
    pub(super) due: Instant,
    /// Failed snapshots in a row.
    pub(super) failed: u32,
    pub(super) writing: Option<Writer>,
}

/// The task that writes a snapshot. Dropping it aborts the task.
pub(super) struct Writer {
    pub(super) steps: mpsc::Receiver<SnapshotStep>,
    pub(super) task: JoinHandle<()>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Snapshots {
    pub(super) fn new(node: usize) -> Self {
        Self {
            node,
            due: Instant::now(),
            failed: 0,
            writing: None,
        }
    }

    /// Returns the time of the next check for a due snapshot; `None` while one is being written.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.writing {
            None => Some(self.due),
            Some(_) => None,
        }
    }

    /// Returns the next step of the snapshot in progress. Pending while there is none.
    pub(super) async fn next(&mut self) -> Option<SnapshotStep> {
        match &mut self.writing {
            Some(writing) => writing.steps.recv().await,
            None => std::future::pending().await,
        }
    }
}
