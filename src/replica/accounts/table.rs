//! Accounts, stored in slots and found by key.

use super::{
    index::{Hash, Index},
    slots::{Slot, SlotId, Slots},
};
use crate::domain::AccountKey;

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) slots: Slots,
    pub(super) index: Index,
}

impl Table {
    pub(super) fn hash(&self, key: &AccountKey) -> Hash {
        self.index.hash(key.as_str())
    }

    pub(super) fn find(&self, hash: Hash, key: &AccountKey) -> Option<SlotId> {
        let slots = &self.slots;
        self.index.find(hash, |id| {
            slots.get(id).is_some_and(|slot| slot.key == *key)
        })
    }

    pub(super) fn get(&self, key: &AccountKey) -> Option<&Slot> {
        self.slots.get(self.find(self.hash(key), key)?)
    }

    pub(super) fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(id)
    }

    /// The id of the next insertion.
    pub(super) fn next_id(&self) -> SlotId {
        SlotId::new(self.slots.len())
    }

    /// Inserts an account that is not in the table yet.
    pub(super) fn insert(&mut self, hash: Hash, slot: Slot) {
        let id = self.slots.push(slot);
        self.index.insert(hash, id);
    }

    /// Removes an existing account. Returns the account that moved to its id, with its former id.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<(SlotId, &Slot)> {
        let freed = self.slots.swap_remove(id);
        self.index.remove(self.hash(&freed.key), id);
        let from = self.next_id();
        let moved = self.slots.get(id)?;
        let hash = self.index.hash(moved.key.as_str());
        self.index.moved(hash, from, id);
        Some((from, moved))
    }
}
