//! Hash tables that map keys to slots.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::slots::SlotId;

/// Number of tables. A table that grows moves all its entries, while requests wait. With ten
/// million accounts, this takes 430 to 850 ms in a single table, and 45 to 145 ms in the largest of
/// 16.
const PARTS: usize = 16;
/// Minimum capacity of a table that is shrunk.
pub(super) const LARGE: usize = 16_384;

#[derive(Clone, Copy, Debug)]
pub(in crate::replica) struct Hash(u64);

/// The slot of one account, and a part of the key's hash, so that a table grows without reading
/// keys.
#[derive(Debug)]
struct Entry {
    hash: u32,
    id: SlotId,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    parts: [HashTable<Entry>; PARTS],
    // Players choose the keys, so the hash must resist collisions.
    hasher: RandomState,
}

impl Hash {
    const fn part(self) -> usize {
        self.0.to_le_bytes()[0] as usize % PARTS
    }

    /// The stored half of the hash; the other half selects the table.
    const fn kept(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Tables use the lowest bits of a hash for positions, and the highest for tags.
const fn spread(kept: u32) -> u64 {
    (kept as u64) << 32 | kept as u64
}

impl Index {
    pub(super) fn hash(&self, key: &str) -> Hash {
        Hash(self.hasher.hash_one(key))
    }

    /// Finds the account with this hash for which `is` returns true.
    pub(super) fn find(&self, hash: Hash, is: impl Fn(SlotId) -> bool) -> Option<SlotId> {
        let kept = hash.kept();
        let found = |entry: &Entry| entry.hash == kept && is(entry.id);
        let entry = self.parts[hash.part()].find(spread(kept), found)?;
        Some(entry.id)
    }

    /// Inserts an account that is not in the table yet.
    pub(super) fn insert(&mut self, hash: Hash, id: SlotId) {
        let kept = hash.kept();
        let entry = Entry { hash: kept, id };
        self.parts[hash.part()].insert_unique(spread(kept), entry, |e| spread(e.hash));
    }

    pub(super) fn remove(&mut self, hash: Hash, id: SlotId) {
        let found = self.parts[hash.part()].find_entry(spread(hash.kept()), |e| e.id == id);
        if let Ok(entry) = found {
            entry.remove();
        }
    }

    /// Updates the slot of an account.
    pub(super) fn moved(&mut self, hash: Hash, from: SlotId, to: SlotId) {
        let found = self.parts[hash.part()].find_mut(spread(hash.kept()), |e| e.id == from);
        if let Some(entry) = found {
            entry.id = to;
        }
    }

    /// Whether the capacity is much larger than the number of accounts.
    pub(super) fn is_too_large(&self) -> bool {
        let room: usize = self.parts.iter().map(HashTable::capacity).sum();
        room >= LARGE && self.len() < room / 16
    }

    /// Frees memory after a peak of accounts.
    pub(super) fn shrink(&mut self) {
        for part in &mut self.parts {
            part.shrink_to_fit(|entry| spread(entry.hash));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize) -> (Index, Vec<Hash>) {
        let mut index = Index::default();
        let hashes: Vec<_> = (0..count).map(|n| index.hash(&n.to_string())).collect();
        for (n, hash) in hashes.iter().enumerate() {
            index.insert(*hash, SlotId::new(n));
        }
        (index, hashes)
    }

    #[test]
    fn insert_find_remove() {
        let (mut index, hashes) = filled(10_000);
        for n in (0..10_000).step_by(2) {
            index.remove(hashes[n], SlotId::new(n));
        }
        index.moved(hashes[1], SlotId::new(1), SlotId::new(0));
        index.shrink();
        for (n, hash) in hashes.into_iter().enumerate() {
            let id = SlotId::new(if n == 1 { 0 } else { n });
            let found = index.find(hash, |found| found == id);
            assert_eq!(found, (n % 2 == 1).then_some(id), "{n}");
        }
        assert_eq!(index.len(), 5_000);
    }

    #[test]
    fn finds_entries_with_equal_hashes() {
        let mut index = Index::default();
        let hash = index.hash("alice");
        let [alice, bob] = [0, 1].map(SlotId::new);
        index.insert(hash, alice);
        index.insert(hash, bob);
        assert_eq!(index.find(hash, |id| id == bob), Some(bob));
        index.remove(hash, bob);
        assert_eq!(index.find(hash, |id| id == alice), Some(alice));
        assert_eq!(index.find(hash, |id| id == bob), None);
    }

    #[test]
    fn shards_are_balanced() {
        let (index, _) = filled(100 * PARTS);
        for part in &index.parts {
            assert!((30..=300).contains(&part.len()), "{}", part.len());
        }
    }
}
