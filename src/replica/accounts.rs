//! The accounts of one partition, found by key and removed by log time.

mod due;
mod index;
mod queries;
mod scan;
mod slots;
mod table;
mod totals;
mod values;

use std::collections::{BTreeSet, VecDeque};
use std::hint::black_box;
use std::ops::{ControlFlow, Range};

use super::pool::Pool;
use crate::domain::{Account, AccountKey, Announcement, LogTime, Rules, WallShift};
use due::Due;
pub(super) use index::Hash;
use scan::Scan;
use slots::{NEVER, Slot, SlotId};
use table::Table;
use totals::{AccountCounts, PartitionCounts};
pub use totals::{Levels, StreamCounts};
use values::{CountedMetadata, ValueIndex};

#[derive(Debug, Default)]
pub(crate) struct Accounts {
    table: Table,
    pub(super) indexes: Indexes,
    metadata: Pool,
    /// The slots that are left to be copied. Slots do not move meanwhile.
    to_copy: Range<usize>,
    /// The pass that collects pages of accounts, if any.
    pub(super) scan: Option<Scan>,
    /// Steps of log time with unprocessed expiries.
    steps: VecDeque<TimeStep>,
    /// The events of streams that expired since they were last taken.
    expired: Vec<Announcement>,
}

/// An advance of log time from `before` to `now`, caused by the entry at `offset`.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeStep {
    pub(super) offset: u64,
    pub(super) before: LogTime,
    pub(super) now: LogTime,
    pub(super) shift: WallShift,
    /// The rules in force at the entry.
    pub(super) rules: Rules,
}

/// Aggregates over all accounts, updated with each change.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    due: Due,
    pub(super) counts: PartitionCounts,
    pub(super) values: ValueIndex,
    /// Keeps empty accounts until they have been copied, because a replica that restores the copy
    /// must skip the same entries. Slots do not move meanwhile.
    keep_empty: bool,
    emptied: BTreeSet<SlotId>,
}

impl Accounts {
    pub(super) fn get(&self, key: &AccountKey) -> Option<&Account> {
        Some(&self.table.get(key)?.account)
    }

    pub(super) fn hash(&self, key: &AccountKey) -> Hash {
        self.table.hash(key)
    }

    /// Loads the accounts with these hashes into the processor's caches. In a table of millions,
    /// nearly every account is a cache miss. Misses of consecutive reads overlap, while those
    /// between changes wait for each other.
    pub(super) fn prefetch(&self, hashes: impl Iterator<Item = Hash>) {
        // Without comparing keys: another account has the same stored hash only by chance.
        let ids: Vec<_> = hashes
            .map(|hash| self.table.index.find(hash, |_| true))
            .collect();
        let slots = ids.into_iter().filter_map(|id| self.table.slot(id?));
        black_box(slots.fold(0, |sum, slot| sum ^ slot.last ^ slot.due.0));
    }

    /// Applies an entry at `offset` to the account of `key`, which has this hash, and creates the
    /// account for its first record. Returns `None`, without a change, if the restored account
    /// already includes that entry.
    pub(super) fn change<R>(
        &mut self,
        hash: Hash,
        key: &AccountKey,
        offset: u64,
        now: LogTime,
        change: impl FnOnce(&mut Account, &Pool) -> R,
    ) -> Option<R> {
        if let Some(step) = self.steps.back()
            && let Some(id) = self.table.find(hash, key)
            && self.table.slot(id).is_some_and(|slot| slot.due <= step.now)
        {
            self.expire_one(id);
        }
        let found = self.table.find(hash, key);
        let Some((id, slot)) = found.and_then(|id| Some((id, self.table.slots.get_mut(id)?)))
        else {
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
        let before = self.indexes.values.before(id, slot);
        let result = change(&mut slot.account, &self.metadata);
        if !self.indexes.update(id, &before, slot, now) {
            self.free(id);
        }
        Some(result)
    }

    /// Advances log time. The resulting expiries are processed later, by [`Self::expire`] or when
    /// their account changes. Reads are exact before that, since they compare deadlines with log
    /// time.
    pub(super) fn advance(&mut self, step: TimeStep) {
        self.indexes.due.fit_last();
        if !self.steps.is_empty() || self.indexes.due.is_due(step.now) {
            self.steps.push_back(step);
        }
    }

    /// Processes the expiries of at most `most` accounts that are due, and removes their old
    /// records.
    pub(super) fn expire(&mut self, most: usize) {
        for _ in 0..most {
            let Some(step) = self.steps.front() else {
                return;
            };
            match self.indexes.due.pop(step.now) {
                Some((at, id)) if self.table.slot(id).is_some_and(|slot| slot.due == at) => {
                    self.expire_one(id);
                }
                Some(_) => {}
                None => drop(self.steps.pop_front()),
            }
        }
    }

    /// The offset of the first entry with unprocessed expiries.
    pub(super) fn expiring(&self) -> Option<u64> {
        Some(self.steps.front()?.offset)
    }

    /// Returns the events of streams that expired since the last call, those of one account in the
    /// order of the log.
    pub(super) fn take_expired(&mut self) -> Vec<Announcement> {
        std::mem::take(&mut self.expired)
    }

    fn expire_one(&mut self, id: SlotId) {
        let (Some(slot), Some(last)) = (self.table.slots.get_mut(id), self.steps.back()) else {
            return;
        };
        let counted = self.indexes.values.before(id, slot);
        // Expiries before the due time were processed by an earlier call, whose steps may still be
        // in the list.
        let looked_at = LogTime(slot.due.0.saturating_sub(1));
        slot.due = NEVER;
        let mut events = Vec::new();
        for step in &self.steps {
            let before = step.before.max(looked_at);
            slot.account
                .expired(before, step.now, step.shift, &mut events);
            if events.is_empty() {
                continue;
            }
            let active = slot.account.count(step.now);
            let (offset, rules) = (step.offset, step.rules);
            let expired = Announcement::of_events(offset, &slot.key, rules, &mut events, active);
            self.expired.extend(expired);
        }
        slot.account.sweep(last.now);
        if !self.indexes.update(id, &counted, slot, last.now) {
            self.free(id);
        }
    }

    /// Starts a copy of the accounts, which may change meanwhile. No account is removed until
    /// [`Self::copied`].
    pub(super) fn copy(&mut self) {
        self.indexes.keep_empty = true;
        self.to_copy = 0..self.table.slots.len();
    }

    /// Calls `each` with the current state of the next accounts, until it breaks or all accounts
    /// that existed at the start of the copy are copied. Later accounts only have entries after the
    /// start.
    pub(super) fn copy_next(
        &mut self,
        mut each: impl FnMut(&AccountKey, u64, &Account) -> ControlFlow<()>,
    ) {
        let left = self.to_copy.len();
        for slot in self.table.slots.from(self.to_copy.start).take(left) {
            self.to_copy.start += 1;
            if each(&slot.key, slot.last, &slot.account).is_break() {
                return;
            }
        }
    }

    /// Ends the copy.
    pub(super) fn copied(&mut self) {
        self.indexes.keep_empty = false;
        // In descending order: a removal moves the last slot, which is not in the list any more.
        for id in std::mem::take(&mut self.indexes.emptied).into_iter().rev() {
            if self.table.slot(id).is_some_and(|s| s.account.is_empty()) {
                self.free(id);
            }
        }
        self.indexes.due.fit();
    }

    /// Inserts an account from a copy, with the offset of its last entry. Returns false if it
    /// exists.
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
        self.indexes.keep_empty = true;
        self.begin(hash, Slot::new(key, last, account), now);
        true
    }

    /// Does deferred work, and frees the memory of removed accounts.
    pub(super) fn housekeep(&mut self) {
        self.metadata.housekeep();
        if !self.indexes.keep_empty && self.table.index.is_too_large() {
            self.table.index.shrink();
            let table = &self.table;
            self.indexes.due.forget(|id| Some(table.slot(id)?.due));
            self.indexes.counts.by_tenant.shrink_to_fit();
            self.metadata.clear();
        }
    }

    fn begin(&mut self, hash: Hash, mut slot: Slot, now: LogTime) {
        let (id, none) = (self.table.next_id(), CountedMetadata::new());
        if self.indexes.update(id, &none, &mut slot, now) {
            self.table.insert(hash, slot);
        }
    }

    fn free(&mut self, id: SlotId) {
        let Some((from, moved)) = self.table.remove(id) else {
            return;
        };
        // The account that moved into this slot stays due at the same moment.
        if moved.due != NEVER {
            self.indexes.due.put(id, moved.due);
        }
        self.indexes.values.moved(from, id, moved);
        if let Some(scan) = &mut self.scan {
            scan.moved(from, id, moved);
        }
    }
}

impl Indexes {
    /// Updates the aggregates for an account, whose streams have been counted by the metadata
    /// `before`. Returns false if the account is empty and must be
    /// removed.
    fn update(
        &mut self,
        id: SlotId,
        before: &CountedMetadata,
        slot: &mut Slot,
        now: LogTime,
    ) -> bool {
        let counted = AccountCounts {
            active: u32::try_from(slot.account.count(now)).unwrap_or(u32::MAX),
            records: u32::try_from(slot.account.records()).unwrap_or(u32::MAX),
        };
        if counted != slot.counted {
            let tenant = slot.key.tenant();
            self.counts.change(tenant, slot.counted, counted);
            slot.counted = counted;
        }
        let next = slot.account.next_change(now);
        match next {
            Some(next) if next < slot.due => {
                slot.due = next;
                self.due.put(id, next);
            }
            Some(_) => {}
            // Another account may use the slot before that moment.
            None => slot.due = NEVER,
        }
        self.values.change(id, before, slot);
        if next.is_none() && !self.keep_empty {
            return false;
        }
        if next.is_none() {
            self.emptied.insert(id);
        }
        true
    }
}

#[cfg(test)]
mod tests;
