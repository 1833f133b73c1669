//! The accounts of one partition: found by key, freed by log time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use compact_str::CompactString;
use moka::sync::Cache;

use crate::domain::{Account, AccountKey, LogTime};

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

/// What the totals count of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    active: u32,
    records: u32,
}

#[derive(Debug, Default)]
struct Slot {
    account: Account,
    counted: Counted,
    /// The moment under which `due` holds this account, if it does.
    due: Option<LogTime>,
}

/// The accounts live in moka, which is told of no capacity and no expiry: it neither refuses nor
/// drops one. What time ends is found by an index of our own, because moka's clock is not the
/// log's. Each account is in that index once, at or before its next change; a heartbeat that moves
/// the change back leaves it where it is, to be looked at again when that moment comes.
#[derive(Debug)]
pub(super) struct Accounts {
    slots: Cache<AccountKey, Arc<Mutex<Slot>>>,
    due: BTreeMap<LogTime, Vec<AccountKey>>,
    totals: Totals,
    by_tenant: HashMap<CompactString, Totals>,
}

impl Accounts {
    pub(super) fn new() -> Self {
        Self {
            slots: Cache::builder().build(),
            due: BTreeMap::new(),
            totals: Totals::default(),
            by_tenant: HashMap::new(),
        }
    }

    /// Reads an account.
    pub(super) fn read<R>(&self, key: &AccountKey, read: impl FnOnce(&Account) -> R) -> Option<R> {
        let slot = self.slots.get(key.as_str())?;
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        Some(read(&slot.account))
    }

    /// Changes an account, which comes to be with its first record.
    pub(super) fn change<R>(
        &mut self,
        key: &AccountKey,
        now: LogTime,
        change: impl FnOnce(&mut Account) -> R,
    ) -> R {
        if let Some(slot) = self.slots.get(key.as_str()) {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut slot.account);
            self.settle(key, &mut slot, now);
            return result;
        }
        let mut slot = Slot::default();
        let result = change(&mut slot.account);
        if !slot.account.is_empty() {
            self.settle(key, &mut slot, now);
            self.slots.insert(key.clone(), Arc::new(Mutex::new(slot)));
        }
        result
    }

    /// Log time has come to `now`: counts no longer what expired, frees what is forgotten.
    pub(super) fn advance(&mut self, now: LogTime) {
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
                if slot.due == Some(at) {
                    slot.due = None;
                    slot.account.sweep(now);
                    self.settle(&key, &mut slot, now);
                }
            }
        }
    }

    /// moka does its housekeeping when told.
    pub(super) fn housekeep(&self) {
        self.slots.run_pending_tasks();
    }

    pub(super) const fn totals(&self) -> Totals {
        self.totals
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
            let tenant = self.by_tenant.entry(key.tenant().into()).or_default();
            tenant.change(slot.counted, counted);
            if *tenant == Totals::default() {
                self.by_tenant.remove(key.tenant());
            }
            slot.counted = counted;
        }
        match slot.account.next_change(now) {
            None => self.slots.invalidate(key.as_str()),
            Some(next) => {
                if slot.due.is_none_or(|due| next < due) {
                    slot.due = Some(next);
                    self.due.entry(next).or_default().push(key.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountId, Moment, Settings, StreamId, Tenant, WallShift};

    fn key(account: &str) -> AccountKey {
        AccountKey::new(
            &Tenant::new("acme").unwrap(),
            &AccountId::new(account).unwrap(),
        )
    }

    fn beat(accounts: &mut Accounts, settings: &Settings, account: &str, id: StreamId, at: u64) {
        let moment = Moment {
            now: LogTime(at),
            shift: WallShift::default(),
            settings,
            full: false,
        };
        accounts.change(&key(account), moment.now, |a| {
            a.heartbeat(&moment, id, None);
        });
    }

    #[test]
    fn totals_follow_time_without_being_asked() {
        let settings = Settings {
            ttl_ms: 2_000,
            ..Settings::default()
        };
        let mut accounts = Accounts::new();
        let id = StreamId::generate();
        beat(&mut accounts, &settings, "alice", id, 0);
        beat(&mut accounts, &settings, "bob", StreamId::generate(), 0);
        let of = |accounts: u64, streams: u64, records: u64| Totals {
            accounts,
            streams,
            records,
        };
        assert_eq!(accounts.totals(), of(2, 2, 2));
        beat(&mut accounts, &settings, "alice", id, 1_000);
        accounts.advance(LogTime(2_199));
        assert_eq!(accounts.totals(), of(2, 2, 2));
        accounts.advance(LogTime(2_200));
        assert_eq!(accounts.totals(), of(1, 1, 2));
        accounts.advance(LogTime(3_200));
        assert_eq!(accounts.totals(), of(0, 0, 2));
        accounts.advance(LogTime(5_200));
        assert_eq!(accounts.totals(), of(0, 0, 0));
        assert_eq!(accounts.by_tenant().count(), 0);
        accounts.housekeep();
        assert_eq!(accounts.slots.entry_count(), 0);
        assert!(accounts.due.is_empty());
    }

    #[test]
    fn a_busy_account_is_in_the_index_once() {
        let settings = Settings::default();
        let mut accounts = Accounts::new();
        let id = StreamId::generate();
        for at in 0..1_000 {
            beat(&mut accounts, &settings, "alice", id, at * 10);
        }
        assert_eq!(accounts.due.values().map(Vec::len).sum::<usize>(), 1);
    }
}
