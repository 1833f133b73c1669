//! The accounts by their keys.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moka::sync::Cache;

use super::{due::NEVER, index::Index, totals::Counted};
use crate::domain::{Account, AccountKey, LogTime};

/// A table with room for fewer accounts is not worth making smaller.
pub(super) const LARGE: usize = 16_384;

/// What is kept of an account.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) account: Account,
    pub(super) counted: Counted,
    /// The offset of the account's last entry, one that changed nothing included.
    pub(super) last: u64,
    /// The moment under which the account is due.
    pub(super) due: LogTime,
}

/// One account's place: to be held by whoever comes back to it, without looking it up again.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Held>);

#[derive(Debug)]
struct Held {
    key: AccountKey,
    slot: Mutex<Slot>,
}

impl Place {
    pub(super) fn new(key: AccountKey, last: u64, account: Account) -> Self {
        let slot = Mutex::new(Slot {
            account,
            counted: Counted::default(),
            last,
            due: NEVER,
        });
        Self(Arc::new(Held { key, slot }))
    }

    pub(super) fn key(&self) -> &AccountKey {
        &self.0.key
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// A place is its key's, and can be asked for with a `&str`.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().as_str().hash(state);
    }
}

impl Borrow<str> for Place {
    fn borrow(&self) -> &str {
        self.key().as_str()
    }
}

/// The accounts live in moka, which is told of no capacity and no expiry: it neither refuses nor
/// drops one, and lets another thread walk them while they change. The thread that changes them
/// finds them by an index of its own: moka notes when each was read, and in which order, for an
/// expiry and an eviction that never come, and that is most of what finding one costs there.
#[derive(Debug)]
pub(super) struct Table {
    places: Cache<Place, ()>,
    index: Index,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            places: Cache::builder().build(),
            index: Index::new(),
        }
    }

    pub(super) fn get(&self, key: &AccountKey) -> Option<&Place> {
        self.index.get(key.as_str())
    }

    pub(super) fn insert(&mut self, place: Place) {
        self.places.insert(place.clone(), ());
        self.index.insert(place);
    }

    pub(super) fn remove(&mut self, key: &AccountKey) {
        self.places.invalidate(key.as_str());
        self.index.remove(key.as_str());
    }

    /// What another thread may walk.
    pub(super) fn places(&self) -> Cache<Place, ()> {
        self.places.clone()
    }

    /// moka does its housekeeping when told.
    pub(super) fn housekeep(&self) {
        self.places.run_pending_tasks();
    }

    /// Was it made for many more than are left?
    pub(super) fn is_too_large(&self) -> bool {
        let room = self.index.capacity();
        room >= LARGE && self.index.len() < room / 16
    }

    /// Gives back the room that the most accounts needed.
    pub(super) fn shrink(&mut self) {
        self.index.shrink_to_fit();
        self.places = Cache::builder().build();
        for place in self.index.iter() {
            self.places.insert(place.clone(), ());
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, u64) {
        (self.index.len(), self.places.entry_count())
    }
}
