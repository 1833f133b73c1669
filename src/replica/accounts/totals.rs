//! Counts of accounts, streams and records, updated with each change.

use std::collections::{HashMap, HashSet};

use compact_str::CompactString;

/// Counts of a partition, or of one tenant in it, as of the last applied entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Accounts with at least one active stream.
    pub accounts: u64,
    /// Active streams.
    pub streams: u64,
    /// Streams and tombstones, those that have expired but are not yet removed included. The soft
    /// limits bound this number.
    pub records: u64,
}

impl StreamCounts {
    fn change(&mut self, old: AccountCounts, new: AccountCounts) {
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

/// Number of accounts by their number of active streams: one, two and so on up to
/// [`Levels::HIGHEST`], and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels(pub [u64; Levels::HIGHEST + 1]);

impl Levels {
    /// The highest number of active streams with a count of its own.
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AccountCounts {
    pub(super) active: u32,
    pub(super) records: u32,
}

/// Sums over all accounts.
#[derive(Debug, Default)]
pub(in crate::replica) struct PartitionCounts {
    pub(in crate::replica) totals: StreamCounts,
    pub(in crate::replica) levels: Levels,
    pub(in crate::replica) by_tenant: HashMap<CompactString, StreamCounts>,
    /// Tenants whose records changed since they were last taken.
    pub(in crate::replica) changed: HashSet<CompactString>,
}

impl PartitionCounts {
    pub(in crate::replica) fn of_tenant(&self, tenant: &str) -> StreamCounts {
        self.by_tenant.get(tenant).copied().unwrap_or_default()
    }

    /// Replaces the counts `old` of an account of `tenant` by `new`.
    pub(super) fn change(&mut self, tenant: &str, old: AccountCounts, new: AccountCounts) {
        self.totals.change(old, new);
        self.levels.change(old.active, new.active);
        let of_tenant = self.by_tenant.entry(tenant.into()).or_default();
        of_tenant.change(old, new);
        if old.records != new.records && !self.changed.contains(tenant) {
            self.changed.insert(tenant.into());
        }
        if *of_tenant == StreamCounts::default() {
            self.by_tenant.remove(tenant);
        }
    }
}
