//! Snapshots of a replica, taken while it applies entries, and their restoration.
//!
//! A snapshot starts at the last internal entry that was applied, and ends at the last entry that
//! was applied when the last account had been copied. Each account is copied at some entry in
//! between, with the offset of its last entry. A replica that restores the snapshot reads the log
//! from the start on, and skips entries that an account already includes. Log time, settings and
//! reached limits change only at internal entries, so they are as of the start.

use std::ops::ControlFlow;

use super::{
    Fault, Now, Phase, Replica, Restoring,
    announcements::Announcements,
    capacity::Capacity,
    counters::ReplicaCounters,
    position::{AnotherLog, LogPosition},
    workers::LocalQueues,
};
use crate::domain::{
    Account, AccountKey, Announcement, Internal, LogClock, SnapshotHeader, SnapshotTrailer,
    WorkerState,
};

impl<T> Replica<T> {
    /// Whether the replica has no state, so that a snapshot can be restored.
    #[must_use]
    pub const fn is_blank(&self) -> bool {
        self.position.anchor.is_none()
    }

    /// Starts a snapshot of the replica. `None` while the replica has not caught up, is expiring,
    /// or may lack earlier streams. No account is removed until [`Self::end_snapshot`].
    pub fn begin_snapshot(&mut self) -> Option<SnapshotHeader> {
        if !matches!(self.phase, Phase::Serving) || self.is_expiring() {
            return None;
        }
        let now = self.clock.now()?;
        if self.capacity.is_learning(now) {
            return None;
        }
        let anchor = self.position.anchor?;
        let header = SnapshotHeader {
            start: anchor.offset,
            entry_id: anchor.entry_id,
            first: self.position.first?,
            now,
            shift: self.clock.shift(),
            settings: self.settings.clone()?,
            full: self.capacity.partition_is_full(),
            full_tenants: self.capacity.full_tenants().cloned().collect(),
            local_queues: self.local_queues.numbers().collect(),
        };
        self.accounts.copy();
        Some(header)
    }

    /// Calls `each` with the accounts that existed at the start and have not been copied, in their
    /// current state, with the offset of their last entry. If `each` breaks, call it again after
    /// some entries have been applied; else all have been copied.
    pub fn copy_accounts(
        &mut self,
        each: impl FnMut(&AccountKey, u64, &Account) -> ControlFlow<()>,
    ) {
        self.accounts.copy_next(each);
    }

    /// Ends a complete or abandoned snapshot. Returns its trailer and the buffered lifecycle
    /// events, or `None` while the replica is expiring, which abandons the snapshot.
    pub fn end_snapshot(&mut self) -> Option<(SnapshotTrailer, Vec<Announcement>)> {
        self.accounts.copied();
        if self.is_expiring() {
            return None;
        }
        let last = self.position.anchor?;
        let trailer = SnapshotTrailer {
            end: self.position.applied?,
            last: last.offset,
            last_entry_id: last.entry_id,
            trail: self.position.checksum.0,
            announced: self.announcements.cursor(),
            counters: *self.counters.get(),
        };
        Some((trailer, self.announcements.buffered().cloned().collect()))
    }

    /// Restores a snapshot that was read up to its trailer. When the log is attached, its entries
    /// show whether the snapshot is one of that log.
    pub fn restore(&mut self, snapshot: Restoring, trailer: SnapshotTrailer) {
        let Restoring {
            header,
            accounts,
            unannounced,
        } = snapshot;
        *self = Self {
            phase: self.phase,
            seq: self.seq,
            position: LogPosition::restored(&header, &trailer),
            accounts,
            expiries_per_entry: self.expiries_per_entry,
            clock: LogClock::at(header.now, header.shift),
            settings: Some(header.settings.clone()),
            capacity: Capacity::restored(header.full, header.full_tenants, header.now),
            last_settings: Some((header.settings, header.now)),
            local_queues: LocalQueues::restored(header.local_queues),
            announcements: Announcements::restored(trailer.announced, trailer.end, unannounced),
            counters: ReplicaCounters::restored(trailer.counters, trailer.end),
            ..Self::new(self.writer)
        };
    }

    /// Appends the settings and log time of the last snapshot to a truncated log that has lost
    /// them, because no worker ran for longer than its retention. A log with its beginning is a new
    /// one, and gets its settings from an operator.
    pub(super) fn append_lost_settings(&mut self, now: Now) {
        let Some((settings, log)) = self.last_settings.clone() else {
            return;
        };
        if self.position.has_beginning() {
            return;
        }
        let writer_state = WorkerState {
            estimate: log,
            wall: now.wall,
            candidate_from: None,
            leads: true,
            unannounced: 0,
            local_queue: None,
        };
        let wall = now.wall;
        self.append_at(
            now,
            Some(writer_state),
            Internal::Settings { settings, wall },
        );
    }

    /// Abandons the snapshot that is being taken.
    pub(super) fn abandon_snapshot(&mut self) {
        if !self.position.is_restoring() {
            self.accounts.copied();
        }
    }

    /// Ends the restoration when the replica has caught up. Fails if the log ends before the
    /// restored snapshot.
    pub(super) fn finish_restoring(&mut self) -> Result<(), Fault> {
        let restoring = self.position.is_restoring();
        let reached = self.position.caught_up();
        reached.map_err(|AnotherLog| self.start_over(Fault::AnotherLog))?;
        if restoring {
            self.accounts.copied();
        }
        Ok(())
    }
}
