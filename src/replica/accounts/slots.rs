//! Chunked storage of the accounts.

use super::totals::AccountCounts;
use crate::domain::{Account, AccountKey, LogTime};

/// Slots per allocation. Chunks are added and freed without moving other slots.
const CHUNK: usize = 1_024;

/// The moment of accounts that are never due.
pub(super) const NEVER: LogTime = LogTime(u64::MAX);

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: AccountKey,
    pub(super) account: Account,
    pub(super) counted: AccountCounts,
    /// The offset of the account's last entry, even if that entry changed nothing.
    pub(super) last: u64,
    /// The moment under which [`super::due::Due`] lists the account.
    pub(super) due: LogTime,
}

impl Slot {
    pub(super) fn new(key: AccountKey, last: u64, account: Account) -> Self {
        Self {
            key,
            account,
            counted: AccountCounts::default(),
            last,
            due: NEVER,
        }
    }
}

/// The position of an account. It changes if the account is the last one when another is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotId(u32);

impl SlotId {
    pub(super) fn new(place: usize) -> Self {
        Self(u32::try_from(place).expect("memory is too small for 2^32 accounts"))
    }

    pub(super) const fn place(self) -> usize {
        self.0 as usize
    }
}

/// Slots without gaps: a removal moves the last one into the gap.
#[derive(Debug, Default)]
pub(super) struct Slots {
    chunks: Vec<Vec<Slot>>,
    len: usize,
}

impl Slots {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, id: SlotId) -> Option<&Slot> {
        self.chunks.get(id.place() / CHUNK)?.get(id.place() % CHUNK)
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        let chunk = self.chunks.get_mut(id.place() / CHUNK)?;
        chunk.get_mut(id.place() % CHUNK)
    }

    /// The slots from a position on.
    pub(super) fn from(&self, place: usize) -> impl Iterator<Item = &Slot> {
        let chunks = self.chunks.iter().skip(place / CHUNK);
        chunks.flatten().skip(place % CHUNK)
    }

    pub(super) fn push(&mut self, slot: Slot) -> SlotId {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let id = SlotId::new(self.len);
        self.chunks[self.len / CHUNK].push(slot);
        self.len += 1;
        id
    }

    /// Removes an existing slot, and moves the last slot to its id.
    pub(super) fn swap_remove(&mut self, id: SlotId) -> Slot {
        self.len -= 1;
        let last = &mut self.chunks[self.len / CHUNK];
        let mut freed = last.pop().expect("the last slot");
        if self.len != id.place() {
            let slot = self.get_mut(id).expect("a slot before the last");
            std::mem::swap(slot, &mut freed);
        }
        // An empty chunk is freed only when the one before it is half empty, so that insertions and
        // removals at a chunk's edge do not allocate.
        let needed = (self.len + CHUNK / 2).div_ceil(CHUNK);
        self.chunks.truncate(needed.max(1));
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: usize) -> Slot {
        let key = AccountKey::of("acme", &n.to_string()).unwrap();
        Slot::new(key, n as u64, Account::default())
    }

    fn numbers(slots: &Slots, from: usize) -> Vec<u64> {
        slots.from(from).map(|slot| slot.last).collect()
    }

    #[test]
    fn remove_moves_the_last_slot() {
        let mut slots = Slots::default();
        (0..5).for_each(|n| assert_eq!(slots.push(slot(n)), SlotId::new(n)));
        assert_eq!(slots.swap_remove(SlotId::new(1)).last, 1);
        assert_eq!(slots.swap_remove(SlotId::new(3)).last, 3);
        assert_eq!((numbers(&slots, 0), slots.len()), (vec![0, 4, 2], 3));
        assert_eq!(numbers(&slots, 2), [2]);
        assert!(slots.get(SlotId::new(3)).is_none());
    }

    #[test]
    fn allocates_and_frees_chunks() {
        let mut slots = Slots::default();
        for n in 0..=3 * CHUNK {
            slots.push(slot(n));
        }
        assert_eq!(slots.chunks.len(), 4);
        let ids = (0..slots.len()).map(SlotId::new);
        assert!(ids.zip(0..).all(|(id, n)| slots.get(id).unwrap().last == n));
        assert_eq!(numbers(&slots, 3 * CHUNK - 1).len(), 2);
        for left in (0..=3 * CHUNK).rev() {
            drop(slots.swap_remove(SlotId::new(left / 2)));
            assert_eq!(slots.len(), left);
            assert!(slots.chunks.len() * CHUNK <= left + 2 * CHUNK);
        }
        assert_eq!(slots.chunks.len(), 1);
    }
}
