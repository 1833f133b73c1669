//! Passes over all accounts in small steps.

use super::{Accounts, Scan};
use crate::domain::{AccountsPage, AccountsRequest, LogTime, WallShift};

/// Slots that one call of [`Accounts::scan`] visits, in a fraction of a millisecond. Those of
/// accounts with many streams count several times.
const PER_CALL: usize = 4_096;

impl Accounts {
    /// Counts active streams by the values of these metadata keys from now on. Those of existing
    /// accounts are counted by [`Self::scan`].
    pub(in crate::replica) fn count_by(&mut self, keys: &[String]) {
        let slots = self.table.slots.len();
        self.indexes.values.count_by(keys, slots);
    }

    /// Starts a pass that collects a page for each request.
    pub(in crate::replica) fn begin_scan(&mut self, requests: Vec<AccountsRequest>) {
        self.scan = Some(Scan::new(requests));
    }

    /// Visits some slots at log time `at`. Returns the pages when the pass has visited all.
    pub(in crate::replica) fn scan(
        &mut self,
        at: LogTime,
        shift: WallShift,
    ) -> Option<Vec<AccountsPage>> {
        self.count_values(PER_CALL / 4);
        self.scan_some(at, shift, PER_CALL)
    }

    /// Visits slots up to a total cost.
    pub(in crate::replica) fn scan_some(
        &mut self,
        at: LogTime,
        shift: WallShift,
        budget: usize,
    ) -> Option<Vec<AccountsPage>> {
        let scan = self.scan.as_mut()?;
        if scan.step(self.table.slots.from(scan.place()), at, budget) {
            return None;
        }
        Some(self.scan.take()?.collected(shift))
    }

    /// Counts the streams of some accounts by the values of their metadata, after a change of the
    /// keys.
    fn count_values(&mut self, most: usize) {
        let Some(first) = self.indexes.values.uncounted() else {
            return;
        };
        let mut slots = self.table.slots.from(first);
        for _ in 0..most {
            let slot = slots.next();
            self.indexes.values.count_slot(slot);
            if slot.is_none() {
                return;
            }
        }
    }
}
