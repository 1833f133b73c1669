//! The accounts of one partition: found by key, freed by log time.

mod due;
mod index;
mod slots;
mod table;
mod totals;

use std::{
    collections::BTreeSet,
    ops::{ControlFlow, Range},
};

use super::pool::Pool;
use crate::domain::{Account, AccountKey, Fact, LogTime, WallShift};
use due::{Due, NEVER};
use index::Hash;
use slots::{Slot, SlotId};
use table::Table;
use totals::{Counted, Counts};
pub use totals::{Levels, Totals};

#[derive(Debug)]
pub(super) struct Accounts {
    table: Table,
    books: Books,
    metadata: Pool,
    /// The places of those that are left to be copied. None moves meanwhile.
    to_copy: Range<usize>,
}

/// What is known of all accounts together, and brought up to date with each that changes.
#[derive(Debug)]
struct Books {
    due: Due,
    counts: Counts,
    /// Accounts that hold nothing any more stay until they have been copied: what they ignored
    /// must not be applied by whoever restores the copy. Nothing moves meanwhile.
    keep_empty: bool,
    emptied: BTreeSet<SlotId>,
}

impl Accounts {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
            books: Books {
                due: Due::new(),
                counts: Counts::default(),
                keep_empty: false,
                emptied: BTreeSet::new(),
            },
            metadata: Pool::new(),
            to_copy: 0..0,
        }
    }

    /// Reads an account.
    pub(super) fn read<R>(&self, key: &AccountKey, read: impl FnOnce(&Account) -> R) -> Option<R> {
        Some(read(&self.table.get(key)?.account))
    }

    /// Changes an account by its entry at `offset`; it comes to be with its first record. Returns
    /// `None`, and changes nothing, where the account had been copied behind that entry.
    pub(super) fn change<R>(
        &mut self,
        key: &AccountKey,
        offset: u64,
        now: LogTime,
        change: impl FnOnce(&mut Account, &Pool) -> R,
    ) -> Option<R> {
        let hash = self.table.hash(key);
        let found = self.table.find(hash, key);
        let Some((id, slot)) = found.and_then(|id| Some((id, self.table.slot_mut(id)?))) else {
            let mut account = Account::default();
            let result = change(&mut account, &self.metadata);
            if !account.is_empty() {
                self.begin(hash, Slot::new(key.clone(), offset, account), now);
            }
            return Some(result);
        };
        if offset <= slot.last {
            return None;
        }
        slot.last = offset;
        let result = change(&mut slot.account, &self.metadata);
        if !self.books.settle(id, slot, now) {
            self.free(id);
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
        while let Some((at, ids)) = self.books.due.take(now) {
            // From the last one on: few of those to come are moved into another's place.
            for id in ids.into_iter().rev() {
                let Some(slot) = self.table.slot_mut(id).filter(|slot| slot.due == at) else {
                    continue;
                };
                slot.due = NEVER;
                slot.account.expired(before, now, shift, &mut facts);
                slot.account.sweep(now);
                let stays = self.books.settle(id, slot, now);
                for fact in facts.drain(..) {
                    expired(&slot.key, slot.counted.active, fact);
                }
                if !stays {
                    self.free(id);
                }
            }
        }
    }

    /// Begins to copy the accounts, while they go on changing. Until [`Self::copied`] none is
    /// freed.
    pub(super) fn copy(&mut self) {
        self.books.keep_empty = true;
        self.to_copy = 0..self.table.len();
    }

    /// Calls `each` with the next accounts, as they are now, until it breaks or all that were there
    /// when the copying began have been copied. Whoever came since has all entries behind it.
    pub(super) fn copy_next(
        &mut self,
        mut each: impl FnMut(&AccountKey, u64, &Account) -> ControlFlow<()>,
    ) {
        let left = self.to_copy.len();
        for slot in self.table.from(self.to_copy.start).take(left) {
            self.to_copy.start += 1;
            if each(&slot.key, slot.last, &slot.account).is_break() {
                return;
            }
        }
    }

    /// The copying is over.
    pub(super) fn copied(&mut self) {
        self.books.keep_empty = false;
        // From the last one on: none of those to come is moved into another's place.
        for id in std::mem::take(&mut self.books.emptied).into_iter().rev() {
            if self.table.slot(id).is_some_and(|s| s.account.is_empty()) {
                self.free(id);
            }
        }
        self.books.due.fit();
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
        let hash = self.table.hash(&key);
        if self.table.find(hash, &key).is_some() {
            return false;
        }
        account.share_all_metadata(|m| self.metadata.shared(m));
        self.books.keep_empty = true;
        self.begin(hash, Slot::new(key, last, account), now);
        true
    }

    /// Does what need not be done at once, and gives back the room of accounts that are gone.
    pub(super) fn housekeep(&mut self) {
        self.metadata.housekeep();
        if !self.books.keep_empty && self.table.is_too_large() {
            self.table.shrink();
            let table = &self.table;
            self.books.due.forget(|id| Some(table.slot(id)?.due));
            self.books.counts.by_tenant.shrink_to_fit();
            self.metadata.clear();
        }
    }

    fn begin(&mut self, hash: Hash, mut slot: Slot, now: LogTime) {
        if self.books.settle(self.table.next_id(), &mut slot, now) {
            self.table.insert(hash, slot);
        }
    }

    fn free(&mut self, id: SlotId) {
        // Another may have its place now, and is due as before.
        if let Some(moved) = self.table.remove(id)
            && moved.due != NEVER
        {
            self.books.due.put(id, moved.due);
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
    fn settle(&mut self, id: SlotId, slot: &mut Slot, now: LogTime) -> bool {
        let counted = Counted {
            active: u32::try_from(slot.account.count(now)).unwrap_or(u32::MAX),
            records: u32::try_from(slot.account.records()).unwrap_or(u32::MAX),
        };
        if counted != slot.counted {
            let tenant = slot.key.tenant();
            self.counts.change(tenant, slot.counted, counted);
            slot.counted = counted;
        }
        match slot.account.next_change(now) {
            Some(next) if next < slot.due => {
                slot.due = next;
                self.due.put(id, next);
            }
            Some(_) => {}
            None => {
                // Another may have its place before that moment comes.
                slot.due = NEVER;
                if !self.keep_empty {
                    return false;
                }
                self.emptied.insert(id);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
