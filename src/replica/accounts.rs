//! The accounts of one partition: found by key, freed by log time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use compact_str::CompactString;
use moka::sync::Cache;

use super::pool::Pool;
use crate::domain::{Account, AccountKey, Fact, LogTime, Metadata, WallShift};

/// Accounts that `due` does not hold are due then.
const NEVER: LogTime = LogTime(u64::MAX);
/// The table of fewer accounts is not worth making smaller.
const LARGE: u64 = 16_384;

/// How much a partition, or one tenant in it, holds as of the last applied entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accounts with at least one active stream.
    pub accounts: u64,
    /// Active streams.
    pub streams: u64,
    /// Records: streams and tombstones, those whose time is up but not yet forgotten included.
    /// This is what the soft limits bound.
    pub records: u64,
}

impl Totals {
    fn change(&mut self, old: Counted, new: Counted) {
        let change = |total: &mut u64, old: u32, new: u32| {
            *total = total
                .saturating_add(u64::from(new))
                .saturating_sub(u64::from(old));
        };
        change(
            &mut self.accounts,
            u32::from(old.active > 0),
            u32::from(new.active > 0),
        );
        change(&mut self.streams, old.active, new.active);
        change(&mut self.records, old.records, new.records);
    }
}

/// How many accounts have how many active streams: one, two and so on up to [`Levels::HIGHEST`],
/// and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels(pub [u64; Levels::HIGHEST + 1]);

impl Levels {
    /// The highest number of active streams that is counted on its own.
    pub const HIGHEST: usize = 10;

    fn change(&mut self, old: u32, new: u32) {
        let place = |active: u32| (active as usize).min(self.0.len()).checked_sub(1);
        let (old, new) = (place(old), place(new));
        if let Some(old) = old {
            self.0[old] = self.0[old].saturating_sub(1);
        }
        if let Some(new) = new {
            self.0[new] += 1;
        }
    }
}

/// What the totals count of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    active: u32,
    records: u32,
}

#[derive(Debug)]
struct Slot {
    account: Account,
    counted: Counted,
    /// The offset of the account's last entry, one that changed nothing included.
    last: u64,
    /// The moment under which `due` holds this account.
    due: LogTime,
}

impl Slot {
    const fn new(account: Account, last: u64) -> Self {
        Self {
            account,
            counted: Counted {
                active: 0,
                records: 0,
            },
            last,
            due: NEVER,
        }
    }
}

type Slots = Cache<AccountKey, Arc<Mutex<Slot>>>;

/// The accounts live in moka, which is told of no capacity and no expiry: it neither refuses nor
/// drops one. What time ends is found by an index of our own, because moka's clock is not the
/// log's. Each account is in that index once, at or before its next change; a heartbeat that moves
/// the change back leaves it where it is, to be looked at again when that moment comes.
#[derive(Debug)]
pub(super) struct Accounts {
    slots: Slots,
    /// How many there are, and how many there have been at once since the table was made.
    held: u64,
    most_held: u64,
    due: BTreeMap<LogTime, Vec<AccountKey>>,
    /// The moment under which accounts were last put into `due`.
    last_due: LogTime,
    metadata: Pool,
    totals: Totals,
    levels: Levels,
    by_tenant: HashMap<CompactString, Totals>,
    /// Accounts that hold nothing any more stay until they have been copied: what they ignored
    /// must not be applied by whoever restores the copy.
    keep_empty: bool,
    emptied: HashSet<AccountKey>,
}

impl Accounts {
    pub(super) fn new() -> Self {
        Self {
            slots: Cache::builder().build(),
            held: 0,
            most_held: 0,
            due: BTreeMap::new(),
            last_due: NEVER,
            metadata: Pool::default(),
            totals: Totals::default(),
            levels: Levels::default(),
            by_tenant: HashMap::new(),
            keep_empty: false,
            emptied: HashSet::new(),
        }
    }

    /// Reads an account.
    pub(super) fn read<R>(&self, key: &AccountKey, read: impl FnOnce(&Account) -> R) -> Option<R> {
        let slot = self.slots.get(key.as_str())?;
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        Some(read(&slot.account))
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
        if let Some(slot) = self.slots.get(key.as_str()) {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if offset <= slot.last {
                return None;
            }
            slot.last = offset;
            let result = change(&mut slot.account);
            self.settle(key, &mut slot, now);
            return Some(result);
        }
        let mut slot = Slot::new(Account::default(), offset);
        let result = change(&mut slot.account);
        if !slot.account.is_empty() {
            self.settle(key, &mut slot, now);
            self.insert(key.clone(), slot);
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
        // Most of what is due at one moment comes at one moment, and that is over.
        if let Some(all) = self.due.get_mut(&self.last_due) {
            all.shrink_to_fit();
        }
        let mut facts = Vec::new();
        while let Some(first) = self.due.first_entry() {
            let at = *first.key();
            if at > now {
                return;
            }
            for key in first.remove() {
                let Some(slot) = self.slots.get(key.as_str()) else {
                    continue;
                };
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                if slot.due == at {
                    slot.due = NEVER;
                    slot.account.expired(before, now, shift, &mut facts);
                    slot.account.sweep(now);
                    self.settle(&key, &mut slot, now);
                    for fact in facts.drain(..) {
                        expired(&key, slot.counted.active, fact);
                    }
                }
            }
        }
    }

    /// Begins to copy the accounts, while they go on changing. Until [`Self::copied`] none is
    /// freed.
    pub(super) fn copy(&mut self) -> AccountCopies {
        self.keep_empty = true;
        AccountCopies(self.slots.clone())
    }

    /// The copying is over.
    pub(super) fn copied(&mut self) {
        self.keep_empty = false;
        self.due.values_mut().for_each(Vec::shrink_to_fit);
        for key in std::mem::take(&mut self.emptied) {
            let empty = self.read(&key, Account::is_empty);
            if empty == Some(true) {
                self.remove(&key);
            }
        }
    }

    /// Takes an account as it was copied behind its entry at `last`. Returns false where it is
    /// there already.
    pub(super) fn restore(
        &mut self,
        key: AccountKey,
        last: u64,
        account: Account,
        now: LogTime,
    ) -> bool {
        if self.slots.contains_key(key.as_str()) {
            return false;
        }
        let mut slot = Slot::new(account, last);
        slot.account.share_metadata(|m| self.metadata.shared(m));
        self.keep_empty = true;
        self.settle(&key, &mut slot, now);
        self.insert(key, slot);
        true
    }

    /// The same metadata, in memory once for all streams that have it.
    pub(super) fn shared(&mut self, metadata: &Metadata) -> Metadata {
        self.metadata.shared(metadata)
    }

    /// moka does its housekeeping when told, and keeps the table that the most accounts needed: when
    /// few are left they move into another.
    pub(super) fn housekeep(&mut self) {
        self.slots.run_pending_tasks();
        if !self.keep_empty && self.most_held >= LARGE && self.held < self.most_held / 16 {
            let smaller: Slots = Cache::builder().build();
            for (key, slot) in &self.slots {
                smaller.insert(AccountKey::clone(&key), slot);
            }
            self.slots = smaller;
            self.most_held = self.held;
            self.forget_moments();
            self.by_tenant.shrink_to_fit();
            self.metadata.sweep();
        }
    }

    /// Forgets the moments under which an account is not due any more. Once the TTL has become
    /// shorter that can be all of them, until the longer one would have been over.
    fn forget_moments(&mut self) {
        let slots = &self.slots;
        self.due.retain(|at, keys| {
            keys.retain(|key| {
                let slot = slots.get(key.as_str());
                slot.is_some_and(|s| s.lock().unwrap_or_else(PoisonError::into_inner).due == *at)
            });
            keys.shrink_to_fit();
            !keys.is_empty()
        });
    }

    fn insert(&mut self, key: AccountKey, slot: Slot) {
        self.slots.insert(key, Arc::new(Mutex::new(slot)));
        self.held += 1;
        self.most_held = self.most_held.max(self.held);
    }

    fn remove(&mut self, key: &AccountKey) {
        self.slots.invalidate(key.as_str());
        self.held -= 1;
    }

    pub(super) const fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn of_tenant(&self, tenant: &str) -> Totals {
        self.by_tenant.get(tenant).copied().unwrap_or_default()
    }

    pub(super) const fn levels(&self) -> Levels {
        self.levels
    }

    pub(super) fn by_tenant(&self) -> impl Iterator<Item = (&str, Totals)> {
        self.by_tenant.iter().map(|(name, t)| (name.as_str(), *t))
    }

    /// Brings the totals and the index up to date with an account that may have changed.
    fn settle(&mut self, key: &AccountKey, slot: &mut Slot, now: LogTime) {
        let counted = Counted {
            active: u32::try_from(slot.account.count(now)).unwrap_or(u32::MAX),
            records: u32::try_from(slot.account.records()).unwrap_or(u32::MAX),
        };
        if counted != slot.counted {
            self.totals.change(slot.counted, counted);
            self.levels.change(slot.counted.active, counted.active);
            let tenant = self.by_tenant.entry(key.tenant().into()).or_default();
            tenant.change(slot.counted, counted);
            if *tenant == Totals::default() {
                self.by_tenant.remove(key.tenant());
            }
            slot.counted = counted;
        }
        match slot.account.next_change(now) {
            None if self.keep_empty => {
                self.emptied.insert(key.clone());
            }
            None => self.remove(key),
            Some(next) => {
                if next < slot.due {
                    slot.due = next;
                    self.last_due = next;
                    self.due.entry(next).or_default().push(key.clone());
                }
            }
        }
    }
}

/// The accounts of a replica, copied one after another while it goes on applying entries.
#[derive(Debug)]
pub struct AccountCopies(Slots);

impl AccountCopies {
    /// Calls `each` with every account that was there when the copying began, and maybe with some
    /// that came since: as it is at that moment, with the offset of its last entry. Ends early
    /// where `each` says so.
    pub fn each(&self, mut each: impl FnMut(&AccountKey, u64, Account) -> ControlFlow<()>) {
        for (key, slot) in &self.0 {
            // A clone, so that `each` may take its time: the replica waits for this lock.
            let (last, account) = {
                let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                (slot.last, slot.account.clone())
            };
            if each(&key, last, account).is_break() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
