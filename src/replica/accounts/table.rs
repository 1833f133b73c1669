//! Accounts, stored in slots and found by key.

use super::{
    index::{Hash, Index},
    slots::{Slot, SlotId, Slots},
};
use crate::domain::AccountKey;

#[derive(Debug)]
pub(super) struct Table {
    slots: Slots,
    index: Index,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            slots: Slots::default(),
            index: Index::new(),
        }
    }

    pub(super) fn hash(&self, key: &AccountKey) -> Hash {
        self.index.hash(key.as_str())
    }

    /// Finds the account of `key`.
    pub(super) fn find(&self, hash: Hash, key: &AccountKey) -> Option<SlotId> {
        let slots = &self.slots;
        self.index.find(hash, |id| {
            slots.get(id).is_some_and(|slot| slot.key == *key)
        })
    }

    /// Finds an account with this hash without comparing keys. Another key's account has the same
    /// stored hash only by chance.
    pub(super) fn probable(&self, hash: Hash) -> Option<SlotId> {
        self.index.find(hash, |_| true)
    }

    pub(super) fn get(&self, key: &AccountKey) -> Option<&Slot> {
        self.slots.get(self.find(self.hash(key), key)?)
    }

    pub(super) fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(id)
    }

    pub(super) fn slot_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(id)
    }

    /// The slots from a position on.
    pub(super) fn from(&self, place: usize) -> impl Iterator<Item = &Slot> {
        self.slots.from(place)
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// The id of the next insertion.
    pub(super) fn next_id(&self) -> SlotId {
        SlotId::new(self.len())
    }

    /// The id of the last account, which moves if another one is removed.
    pub(super) fn last_id(&self) -> SlotId {
        SlotId::new(self.len().saturating_sub(1))
    }

    /// Inserts an account that is not in the table yet.
    pub(super) fn insert(&mut self, hash: Hash, slot: Slot) {
        let id = self.slots.push(slot);
        self.index.insert(hash, id);
    }

    /// Removes an existing account. Returns the account that moved to its id, if any.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<&Slot> {
        let freed = self.slots.swap_remove(id);
        self.index.remove(self.hash(&freed.key), id);
        let from = self.next_id();
        let moved = self.slots.get(id)?;
        let hash = self.index.hash(moved.key.as_str());
        self.index.moved(hash, from, id);
        Some(moved)
    }

    /// Whether the capacity is much larger than the number of accounts.
    pub(super) fn is_too_large(&self) -> bool {
        self.index.is_too_large()
    }

    /// Frees memory after a peak of accounts.
    pub(super) fn shrink(&mut self) {
        self.index.shrink();
    }

    /// Number of accounts in the index.
    #[cfg(test)]
    pub(super) fn indexed(&self) -> usize {
        self.index.len()
    }
}
