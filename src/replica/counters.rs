//! The counters of a replica, which continue those of its snapshot.

use crate::domain::Counters;

/// Counts each entry once: an entry may be applied again to some accounts of a snapshot.
#[derive(Debug, Default)]
pub(super) struct ReplicaCounters {
    counters: Counters,
    /// Offset of the last entry that the snapshot has counted.
    counted: Option<u64>,
}

impl ReplicaCounters {
    /// Restores the counters of a snapshot that ended at the offset `end`.
    pub(super) const fn restored(counters: Counters, end: u64) -> Self {
        Self {
            counters,
            counted: Some(end),
        }
    }

    /// Updates the counters for the entry at `offset`, unless the snapshot includes it.
    pub(super) fn count(&mut self, offset: u64, count: impl FnOnce(&mut Counters)) {
        if Some(offset) > self.counted {
            count(&mut self.counters);
        }
    }

    pub(super) const fn get(&self) -> &Counters {
        &self.counters
    }
}
