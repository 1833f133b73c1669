//! The accounts of one partition: found by key, freed by log time.

mod due;
mod index;
mod table;
mod totals;

use std::{collections::HashSet, ops::ControlFlow};

use moka::sync::Cache;

use super::pool::Pool;
use crate::domain::{Account, AccountKey, Fact, LogTime, Metadata, WallShift};
use due::{Due, NEVER};
use table::{Place, Slot, Table};
use totals::{Counted, Counts};
pub use totals::{Levels, Totals};

#[derive(Debug)]
pub(super) struct Accounts {
    table: Table,
    books: Books,
    metadata: Pool,
}

/// What is known of all accounts together, and brought up to date with each that changes.
#[derive(Debug)]
struct Books {
    due: Due,
    counts: Counts,
    /// Accounts that hold nothing any more stay until they have been copied: what they ignored
    /// must not be applied by whoever restores the copy.
    keep_empty: bool,
    emptied: HashSet<Place>,
}

impl Accounts {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
            books: Books {
                due: Due::new(),
                counts: Counts::default(),
                keep_empty: false,
                emptied: HashSet::new(),
            },
            metadata: Pool::default(),
        }
    }

    /// Reads an account.
    pub(super) fn read<R>(&self, key: &AccountKey, read: impl FnOnce(&Account) -> R) -> Option<R> {
        Some(read(&self.table.get(key)?.lock().account))
    }

    /// Changes an account by its entry at `offset`; it comes to be with its first record. Returns
    /// `None`, and changes nothing, where the account had been copied behind that entry.
    pub(super) fn change<R>(
        &mut self,
        key: &AccountKey,
        offset: u64,
        now: LogTime,
        change: impl FnOnce(&mut Account) -> R,
    ) -> Option<R> {
        let Some(place) = self.table.get(key) else {
            let mut account = Account::default();
            let result = change(&mut account);
            if !account.is_empty() {
                self.begin(Place::new(key.clone(), offset, account), now);
            }
            return Some(result);
        };
        let mut slot = place.lock();
        if offset <= slot.last {
            return None;
        }
        slot.last = offset;
        let result = change(&mut slot.account);
        let stays = self.books.settle(place, &mut slot, now);
        drop(slot);
        if !stays {
            self.table.remove(key);
        }
        Some(result)
    }

    /// Log time has come from `before` to `now`: counts no longer what expired, and calls `expired`
    /// with it; frees what is forgotten.
    pub(super) fn advance(
        &mut self,
        before: LogTime,
        now: LogTime,
        shift: WallShift,
        mut expired: impl FnMut(&AccountKey, u32, Fact),
    ) {
        self.books.due.fit_last();
        let mut facts = Vec::new();
        while let Some((at, places)) = self.books.due.take(now) {
            for place in places {
                let mut slot = place.lock();
                if slot.due != at {
                    continue;
                }
                slot.due = NEVER;
                slot.account.expired(before, now, shift, &mut facts);
                slot.account.sweep(now);
                let stays = self.books.settle(&place, &mut slot, now);
                for fact in facts.drain(..) {
                    expired(place.key(), slot.counted.active, fact);
                }
                drop(slot);
                if !stays {
                    self.table.remove(place.key());
                }
            }
        }
    }

    /// Begins to copy the accounts, while they go on changing. Until [`Self::copied`] none is
    /// freed.
    pub(super) fn copy(&mut self) -> AccountCopies {
        self.books.keep_empty = true;
        AccountCopies(self.table.places())
    }

    /// The copying is over.
    pub(super) fn copied(&mut self) {
        self.books.keep_empty = false;
        self.books.due.fit();
        for place in std::mem::take(&mut self.books.emptied) {
            if place.lock().account.is_empty() {
                self.table.remove(place.key());
            }
        }
    }

    /// Takes an account as it was copied behind its entry at `last`. Returns false where it is
    /// there already.
    pub(super) fn restore(
        &mut self,
        key: AccountKey,
        last: u64,
        mut account: Account,
        now: LogTime,
    ) -> bool {
        if self.table.get(&key).is_some() {
            return false;
        }
        account.share_metadata(|m| self.metadata.shared(m));
        self.books.keep_empty = true;
        self.begin(Place::new(key, last, account), now);
        true
    }

    /// The same metadata, in memory once for all streams that have it.
    pub(super) fn shared(&mut self, metadata: &Metadata) -> Metadata {
        self.metadata.shared(metadata)
    }

    /// Does what need not be done at once, and gives back the room of those that are gone.
    pub(super) fn housekeep(&mut self) {
        self.table.housekeep();
        if !self.books.keep_empty && self.table.is_too_large() {
            self.table.shrink();
            self.books.due.forget();
            self.books.counts.by_tenant.shrink_to_fit();
            self.metadata.sweep();
        }
    }

    fn begin(&mut self, place: Place, now: LogTime) {
        let stays = self.books.settle(&place, &mut place.lock(), now);
        if stays {
            self.table.insert(place);
        }
    }

    pub(super) const fn totals(&self) -> Totals {
        self.books.counts.totals
    }

    pub(super) fn of_tenant(&self, tenant: &str) -> Totals {
        let by_tenant = &self.books.counts.by_tenant;
        by_tenant.get(tenant).copied().unwrap_or_default()
    }

    pub(super) const fn levels(&self) -> Levels {
        self.books.counts.levels
    }

    pub(super) fn by_tenant(&self) -> impl Iterator<Item = (&str, Totals)> {
        let by_tenant = &self.books.counts.by_tenant;
        by_tenant.iter().map(|(name, t)| (name.as_str(), *t))
    }
}

impl Books {
    /// Takes note of an account that may have changed. Returns false where it is to be freed.
    fn settle(&mut self, place: &Place, slot: &mut Slot, now: LogTime) -> bool {
        let counted = Counted {
            active: u32::try_from(slot.account.count(now)).unwrap_or(u32::MAX),
            records: u32::try_from(slot.account.records()).unwrap_or(u32::MAX),
        };
        if counted != slot.counted {
            let tenant = place.key().tenant();
            self.counts.change(tenant, slot.counted, counted);
            slot.counted = counted;
        }
        match slot.account.next_change(now) {
            Some(next) => self.due.put(place, slot, next),
            None => {
                // Another may have its key before that moment comes.
                slot.due = NEVER;
                if !self.keep_empty {
                    return false;
                }
                self.emptied.insert(place.clone());
            }
        }
        true
    }
}

/// The accounts of a replica, copied one after another while it goes on applying entries.
#[derive(Debug)]
pub struct AccountCopies(Cache<Place, ()>);

impl AccountCopies {
    /// Calls `each` with every account that was there when the copying began, and maybe with some
    /// that came since: as it is at that moment, with the offset of its last entry. Ends early
    /// where `each` says so.
    pub fn each(&self, mut each: impl FnMut(&AccountKey, u64, Account) -> ControlFlow<()>) {
        for (place, ()) in &self.0 {
            // A clone, so that `each` may take its time: the replica waits for this lock.
            let (last, account) = {
                let slot = place.lock();
                (slot.last, slot.account.clone())
            };
            if each(place.key(), last, account).is_break() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
