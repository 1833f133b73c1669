//! An in-memory snapshot log.

use streamwatch::{
    domain::{Account, AccountKey, Announcement, SnapshotHeader, SnapshotTrailer},
    replica::Restoring,
};

use crate::worker::{History, Lost};

/// Number of complete snapshots to keep.
const KEPT: usize = 2;

#[derive(Clone)]
pub struct Snapshot {
    pub id: u64,
    /// The history of the copied replica.
    pub history: History,
    pub header: SnapshotHeader,
    pub accounts: Vec<(AccountKey, u64, Account)>,
    pub unannounced: Vec<Announcement>,
    /// The trailer; `None` if the snapshot is incomplete.
    pub trailer: Option<SnapshotTrailer>,
    pub damaged: bool,
    /// Whether it contains entries that the broker has lost since.
    pub diverged: Option<Lost>,
}

#[derive(Default)]
pub struct Snapshots {
    /// The snapshots, oldest first.
    all: Vec<Snapshot>,
    written: u64,
}

impl Snapshots {
    pub fn next_id(&mut self) -> u64 {
        self.written += 1;
        self.written
    }

    /// Adds a complete or abandoned snapshot.
    pub fn push(&mut self, snapshot: Snapshot) {
        self.all.push(snapshot);
        let whole = |s: &&Snapshot| s.trailer.is_some();
        while self.all.iter().filter(whole).count() > KEPT {
            self.all.remove(0);
        }
    }

    /// The newest complete snapshot that was not rejected.
    pub fn newest(&self, rejected: &[u64]) -> Option<&Snapshot> {
        let mut newest_first = self.all.iter().rev();
        newest_first.find(|s| s.trailer.is_some() && !s.damaged && !rejected.contains(&s.id))
    }

    /// The lost entries of a snapshot.
    pub fn diverged(&self, id: u64) -> Option<Lost> {
        let mut all = self.all.iter();
        all.find(|snapshot| snapshot.id == id)?.diverged.clone()
    }

    /// Marks the snapshots with entries that the broker has lost.
    pub fn lose_tail(&mut self, lost: &Lost) {
        for snapshot in &mut self.all {
            if snapshot.diverged.is_none() {
                snapshot.diverged = snapshot.trailer.and_then(|t| lost.up_to(t.end));
            }
        }
    }
}

impl Snapshot {
    /// Reads it. `None` if its rules are not supported.
    pub fn read(&self) -> Option<Restoring> {
        let mut restoring = Restoring::new(self.header.clone()).ok()?;
        for (key, last, account) in &self.accounts {
            assert!(restoring.account(key.clone(), *last, account.clone()));
        }
        restoring.unannounced(self.unannounced.iter().cloned());
        Some(restoring)
    }
}
