//! The counters of a replica, which go on from those of its snapshot.

use crate::domain::Tally;

/// Counts each entry once: an entry may be applied again to some accounts of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Tallied {
    tally: Tally,
    /// Offset of the last entry that the snapshot has counted.
    counted: Option<u64>,
}

impl Tallied {
    /// Goes on from a snapshot that ended at the offset `end`.
    pub(super) const fn restored(tally: Tally, end: u64) -> Self {
        Self {
            tally,
            counted: Some(end),
        }
    }

    /// Counts something that the entry at `offset` did.
    pub(super) fn count(&mut self, offset: u64, count: impl FnOnce(&mut Tally)) {
        if Some(offset) > self.counted {
            count(&mut self.tally);
        }
    }

    pub(super) const fn get(&self) -> &Tally {
        &self.tally
    }
}
