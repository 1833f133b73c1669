//! A bounded number of buckets.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
};

use super::bucket::{Bucket, Nanos};

/// Least time between two searches for full buckets, if there are too many.
const SWEEP_EVERY_NS: Nanos = 100_000_000;

/// The hash of an owner of a bucket. A flood cannot choose owners with equal hashes, since the hash
/// function has a random key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Owner(u64);

/// Buckets by their owners, at most a maximum. A full bucket is equal to a new one, so it may be
/// dropped.
pub(super) struct Buckets {
    buckets: HashMap<Owner, Bucket>,
    hasher: RandomState,
    max: usize,
    swept_at: Option<Nanos>,
}

impl Buckets {
    pub(super) fn new(max: usize) -> Self {
        Self {
            buckets: HashMap::new(),
            hasher: RandomState::new(),
            max,
            swept_at: None,
        }
    }

    pub(super) fn owner(&self, name: impl Hash) -> Owner {
        Owner(self.hasher.hash_one(name))
    }

    /// The bucket of `owner`, if it has one that is not new.
    pub(super) fn get_mut(&mut self, owner: Owner) -> Option<&mut Bucket> {
        self.buckets.get_mut(&owner)
    }

    /// The bucket of `owner`, a new one if needed; `None` if there are too many that are not full.
    pub(super) fn of(&mut self, owner: Owner, now: Nanos) -> Option<&mut Bucket> {
        if self.buckets.len() >= self.max && !self.buckets.contains_key(&owner) {
            self.sweep(now);
            if self.buckets.len() >= self.max {
                return None;
            }
        }
        Some(self.buckets.entry(owner).or_default())
    }

    /// Drops all buckets, and their memory.
    pub(super) fn clear(&mut self) {
        self.buckets = HashMap::new();
    }

    fn sweep(&mut self, now: Nanos) {
        let is_due = |at: Nanos| now.abs_diff(at) >= SWEEP_EVERY_NS;
        if self.swept_at.is_none_or(is_due) {
            self.swept_at = Some(now);
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::throttle::{Rate, Share};

    #[test]
    fn evicts_full_buckets_at_capacity() {
        let rate = Rate::per_second(100, Share::ALL).unwrap();
        let mut buckets = Buckets::new(3);
        let now = 1;
        for name in ["a", "b", "c"] {
            let owner = buckets.owner(name);
            buckets.of(owner, now).unwrap().take(rate, now);
        }
        let (known, another) = (buckets.owner("b"), buckets.owner("d"));
        assert!(buckets.of(another, now).is_none());
        assert!(buckets.of(known, now).is_some());
        assert!(buckets.get_mut(another).is_none());
        // Full again after one interval; searched for after a tenth of a second.
        assert!(buckets.of(another, now + SWEEP_EVERY_NS - 1).is_none());
        assert!(buckets.of(another, now + SWEEP_EVERY_NS).is_some());
        assert_eq!(buckets.len(), 1);
        buckets.clear();
        assert_eq!(buckets.len(), 0);
    }
}
