//! The way to an account for the one thread that changes it.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::table::Place;

/// A table that grows moves all it holds, and whoever asks waits: of many small ones each moves
/// little, and others are served between two.
const PARTS: usize = 16;

#[derive(Debug)]
pub(super) struct Index {
    parts: Vec<HashTable<Place>>,
    // Players choose what accounts are called: it must be hard to make many of them collide.
    hasher: RandomState,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Place> {
        let hash = self.hasher.hash_one(key);
        self.parts[part(hash)].find(hash, |place| place.key().as_str() == key)
    }

    /// The account must not be there yet.
    pub(super) fn insert(&mut self, place: Place) {
        let hash_of = |place: &Place| self.hasher.hash_one(place.key().as_str());
        let hash = hash_of(&place);
        self.parts[part(hash)].insert_unique(hash, place, hash_of);
    }

    pub(super) fn remove(&mut self, key: &str) {
        let hash = self.hasher.hash_one(key);
        let found = self.parts[part(hash)].find_entry(hash, |place| place.key().as_str() == key);
        if let Ok(entry) = found {
            entry.remove();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.parts.iter().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }

    /// For how many there is room.
    pub(super) fn capacity(&self) -> usize {
        self.parts.iter().map(HashTable::capacity).sum()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        for part in &mut self.parts {
            part.shrink_to_fit(|place| self.hasher.hash_one(place.key().as_str()));
        }
    }
}

/// By bits of the hash that the tables themselves do not use: they take the lowest and the highest.
const fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Account, AccountKey};

    fn place(n: usize) -> Place {
        let key = AccountKey::of("acme", &format!("viewer-{n}")).unwrap();
        Place::new(key, 0, Account::default())
    }

    #[test]
    fn what_is_put_in_is_found_until_it_is_taken_out() {
        let mut index = Index::new();
        (0..10_000).for_each(|n| index.insert(place(n)));
        (0..10_000).step_by(2).for_each(|n| {
            index.remove(place(n).key().as_str());
        });
        index.remove("acme/nobody");
        index.shrink_to_fit();
        for n in 0..10_000 {
            let sought = place(n);
            let found = index.get(sought.key().as_str());
            assert_eq!(found, (n % 2 == 1).then_some(&sought), "{n}");
        }
        assert_eq!((index.len(), index.iter().count()), (5_000, 5_000));
    }

    #[test]
    fn the_parts_hold_about_as_much_each() {
        let mut index = Index::new();
        (0..100 * PARTS).for_each(|n| index.insert(place(n)));
        for part in &index.parts {
            assert!((30..=300).contains(&part.len()), "{}", part.len());
        }
    }
}
