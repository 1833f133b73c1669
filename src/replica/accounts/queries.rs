//! Aggregates of the accounts, and passes over all of them in small steps.

use std::collections::HashSet;

use compact_str::CompactString;

use super::{Accounts, Collected, Levels, Scan, StreamCounts};
use crate::domain::{AccountsRequest, LogTime, ValueCounts};

/// Slots that one call of [`Accounts::scan`] visits, in a fraction of a millisecond. Those of
/// accounts with many streams count several times.
const PER_CALL: usize = 4_096;

impl Accounts {
    pub(in crate::replica) const fn totals(&self) -> StreamCounts {
        self.indexes.counts.totals
    }

    pub(in crate::replica) fn of_tenant(&self, tenant: &str) -> StreamCounts {
        let by_tenant = &self.indexes.counts.by_tenant;
        by_tenant.get(tenant).copied().unwrap_or_default()
    }

    pub(in crate::replica) const fn levels(&self) -> Levels {
        self.indexes.counts.levels
    }

    /// The tenants whose records changed since the last call.
    pub(in crate::replica) fn take_changed(&mut self) -> HashSet<CompactString> {
        std::mem::take(&mut self.indexes.counts.changed)
    }

    pub(in crate::replica) fn by_tenant(&self) -> impl Iterator<Item = (&str, StreamCounts)> {
        let by_tenant = &self.indexes.counts.by_tenant;
        by_tenant.iter().map(|(name, t)| (name.as_str(), *t))
    }

    /// Counts active streams by the values of these metadata keys from now on. Those of existing
    /// accounts are counted by [`Self::scan`].
    pub(in crate::replica) fn count_by(&mut self, keys: &[String]) {
        let slots = self.table.len();
        self.indexes.values.count_by(keys, slots);
    }

    /// Whether all active streams are counted by the values of their metadata.
    pub(in crate::replica) const fn values_are_counted(&self) -> bool {
        self.indexes.values.uncounted().is_none()
    }

    /// The metadata keys whose values are counted.
    pub(in crate::replica) fn counted_keys(&self) -> &[String] {
        self.indexes.values.keys()
    }

    /// The active streams of a tenant by the values of a key.
    pub(in crate::replica) fn values_of(&self, tenant: &str, key: &str) -> ValueCounts {
        self.indexes.values.of(tenant, key)
    }

    /// Starts a pass that collects a page for each request.
    pub(in crate::replica) fn begin_scan(&mut self, requests: Vec<AccountsRequest>) {
        self.scan = Some(Scan::new(requests));
    }

    /// Abandons the pass.
    pub(in crate::replica) fn abandon_scan(&mut self) {
        self.scan = None;
    }

    /// Whether [`Self::scan`] has work.
    pub(in crate::replica) const fn is_scanning(&self) -> bool {
        self.scan.is_some() || !self.values_are_counted()
    }

    /// Visits some slots at log time `at`. Returns the pages when the pass has visited all.
    pub(in crate::replica) fn scan(&mut self, at: LogTime) -> Option<Vec<Collected>> {
        self.count_values(PER_CALL / 4);
        self.scan_some(at, PER_CALL)
    }

    /// Visits slots up to a total cost.
    pub(in crate::replica) fn scan_some(
        &mut self,
        at: LogTime,
        budget: usize,
    ) -> Option<Vec<Collected>> {
        let scan = self.scan.as_mut()?;
        if scan.step(self.table.from(scan.place()), at, budget) {
            return None;
        }
        self.scan.take().map(Scan::collected)
    }

    /// Counts the streams of some accounts by the values of their metadata, after a change of the
    /// keys.
    fn count_values(&mut self, most: usize) {
        let Some(first) = self.indexes.values.uncounted() else {
            return;
        };
        let mut slots = self.table.from(first);
        for _ in 0..most {
            let slot = slots.next();
            self.indexes.values.count_slot(slot);
            if slot.is_none() {
                return;
            }
        }
    }
}
