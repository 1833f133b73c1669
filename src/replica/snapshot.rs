//! Copies of a whole replica, taken while it goes on, and replicas that go on from one.
//!
//! A copy begins at S, the last marked entry applied, and ends at E, the last entry applied when
//! the last account had been copied. Each account is copied as it is at some entry in between, with
//! the offset of its own last entry. A replica that restores it reads the log on from S, and skips
//! entries that an account already includes. Log time, settings and reached limits change only at
//! marked entries, so they are as of S.

use std::ops::ControlFlow;

use super::{
    Fault, Now, Phase, Replica,
    accounts::Accounts,
    announcements::Announcements,
    capacity::Capacity,
    counters::ReplicaCounters,
    position::{AnotherLog, LogPosition},
};
use crate::domain::{
    Account, AccountKey, Announcement, Internal, LogClock, RULES_VERSION, Reading, SnapshotHeader,
    SnapshotTrailer,
};

/// A copy being put together.
#[derive(Debug)]
pub struct Restoring {
    header: SnapshotHeader,
    accounts: Accounts,
    unannounced: Vec<Announcement>,
}

/// A copy, whole, that a replica can go on from.
#[derive(Debug)]
pub struct Restored {
    copy: Restoring,
    trailer: SnapshotTrailer,
}

impl Restoring {
    /// Begins with the header.
    ///
    /// # Errors
    /// [`Fault::UnknownRules`] if the copy has an unsupported version of the rules.
    pub fn new(header: SnapshotHeader) -> Result<Self, Fault> {
        if header.settings.rules != RULES_VERSION {
            return Err(Fault::UnknownRules(header.settings.rules));
        }
        Ok(Self {
            header,
            accounts: Accounts::new(),
            unannounced: Vec::new(),
        })
    }

    /// Takes an account, with the offset of its last entry. Returns false where it came before:
    /// the copy is none that a replica made.
    #[must_use]
    pub fn account(&mut self, key: AccountKey, last: u64, account: Account) -> bool {
        self.accounts.restore(key, last, account, self.header.now)
    }

    /// Takes a lifecycle event that had not been announced, in their order.
    pub fn unannounced(&mut self, announcement: Announcement) {
        self.unannounced.push(announcement);
    }

    /// Ends with the trailer.
    #[must_use]
    pub const fn whole(self, trailer: SnapshotTrailer) -> Restored {
        Restored {
            copy: self,
            trailer,
        }
    }
}

impl Restored {
    /// The header of the copy.
    #[must_use]
    pub const fn header(&self) -> &SnapshotHeader {
        &self.copy.header
    }
}

impl<T> Replica<T> {
    /// Nothing is known of the log: a copy can be restored.
    #[must_use]
    pub const fn is_blank(&self) -> bool {
        self.position.is_blank()
    }

    /// Starts a copy of the replica. `None` while it has not caught up, is expiring, or may lack
    /// earlier streams. Until [`Self::end_snapshot`] no account is freed.
    pub fn begin_snapshot(&mut self) -> Option<SnapshotHeader> {
        if !matches!(self.phase, Phase::Serving) || self.is_expiring() {
            return None;
        }
        let now = self.clock.now()?;
        if self.capacity.is_learning(now) {
            return None;
        }
        let anchor = self.position.anchor()?;
        let header = SnapshotHeader {
            start: anchor.offset,
            mark: anchor.mark,
            first: self.position.first()?,
            now,
            shift: self.clock.shift(),
            settings: self.settings.clone()?,
            full: self.capacity.partition_is_full(),
            full_tenants: self.capacity.full_tenants().cloned().collect(),
        };
        self.accounts.copy();
        Some(header)
    }

    /// Calls `each` with accounts that were there when the copying began and have not been copied:
    /// as they are now, with the offset of their last entry. Ends where `each` breaks, to be called
    /// again when some entries have been applied; where it does not break, all have been copied.
    pub fn copy_accounts(
        &mut self,
        each: impl FnMut(&AccountKey, u64, &Account) -> ControlFlow<()>,
    ) {
        self.accounts.copy_next(each);
    }

    /// Ends a complete or abandoned copy: returns its trailer and the buffered lifecycle events.
    /// `None` while the replica is expiring, which abandons the copy.
    pub fn end_snapshot(&mut self) -> Option<(SnapshotTrailer, Vec<Announcement>)> {
        self.accounts.copied();
        if self.is_expiring() {
            return None;
        }
        let last = self.position.anchor()?;
        let trailer = SnapshotTrailer {
            end: self.position.applied()?,
            last: last.offset,
            last_mark: last.mark,
            trail: self.position.checksum().sum(),
            announced: self.announcements.cursor(),
            counters: *self.counters.get(),
        };
        Some((trailer, self.announcements.kept().cloned().collect()))
    }

    /// Goes on from a copy. The log decides, once it is attached, whether it is a copy of that log.
    pub fn restore(&mut self, restored: Restored) {
        let Restored { copy, trailer } = restored;
        let header = copy.header;
        let mut accounts = copy.accounts;
        accounts.expire_per_entry(self.accounts.expiries_per_entry());
        *self = Self {
            phase: self.phase,
            seq: self.seq,
            position: LogPosition::restored(&header, &trailer),
            accounts,
            clock: LogClock::at(header.now, header.shift),
            settings: Some(header.settings.clone()),
            capacity: Capacity::restored(header.full, header.full_tenants, header.now),
            remembered: Some((header.settings, header.now)),
            announcements: Announcements::restored(
                trailer.announced,
                trailer.end,
                copy.unannounced,
            ),
            counters: ReplicaCounters::restored(trailer.counters, trailer.end),
            ..Self::new(self.writer)
        };
    }

    /// Appends the settings and the time of the last copy to a log that has lost them, because no
    /// worker ran for longer than its retention. A log that is not truncated is a new one, whose
    /// operator is about to declare its settings.
    pub(super) fn remind(&mut self, now: Now) {
        let Some((settings, log)) = self.remembered.clone() else {
            return;
        };
        if self.position.has_beginning() {
            return;
        }
        let reading = Reading {
            estimate: log,
            wall: now.wall,
            stands_from: None,
            leads: true,
            unannounced: 0,
        };
        let wall = now.wall;
        self.append_at(now, Some(reading), Internal::Settings { settings, wall });
    }

    /// Gives up the snapshot being copied.
    pub(super) fn abandon_snapshot(&mut self) {
        if !self.position.is_restoring() {
            self.accounts.copied();
        }
    }

    /// The replica has caught up. Fails if the log ends before the snapshot that was restored.
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
