//! Counts by the values of one metadata key.

use std::{collections::HashMap, hash::BuildHasher};

use compact_str::CompactString;

use crate::domain::ValueCounts;

/// Maximum number of values with a count of their own.
const MAX_VALUES: usize = 1_000;
/// Number of counters of the other values.
const BUCKETS: usize = 1_024;

/// Counts of one tenant's streams by the values of one key, in bounded memory.
///
/// A value gets a count of its own if there is room and none of its streams are among the others.
/// So each count is exact, and only the choice of the values depends on their order.
#[derive(Debug, Default)]
pub(super) struct Values {
    named: HashMap<CompactString, u64>,
    /// The streams of the other values by a hash of their value. Empty if there are none.
    buckets: Vec<u64>,
    others: u64,
}

impl Values {
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others == 0
    }

    /// Counts a stream.
    pub(super) fn add(&mut self, value: &str) {
        if let Some(count) = self.named.get_mut(value) {
            *count += 1;
            return;
        }
        let bucket = self.bucket(value);
        let in_bucket = self.buckets.get(bucket).copied().unwrap_or_default();
        if in_bucket == 0 && self.named.len() < MAX_VALUES {
            self.named.insert(value.into(), 1);
            return;
        }
        self.buckets.resize(BUCKETS, 0);
        self.buckets[bucket] += 1;
        self.others += 1;
    }

    /// Removes a stream that has been counted.
    pub(super) fn remove(&mut self, value: &str) {
        if let Some(count) = self.named.get_mut(value) {
            *count -= 1;
            if *count == 0 {
                self.named.remove(value);
            }
            return;
        }
        let bucket = self.bucket(value);
        if let Some(in_bucket) = self.buckets.get_mut(bucket) {
            *in_bucket = in_bucket.saturating_sub(1);
            self.others = self.others.saturating_sub(1);
        }
        if self.others == 0 {
            self.buckets = Vec::new();
        }
    }

    fn bucket(&self, value: &str) -> usize {
        let [low, high, ..] = self.named.hasher().hash_one(value).to_le_bytes();
        usize::from(u16::from_le_bytes([low, high])) % BUCKETS
    }

    /// The counts, the highest first, and equal ones in the order of their values.
    pub(super) fn sorted(&self) -> ValueCounts {
        let values = self.named.iter();
        let mut values: Vec<_> = values.map(|(v, n)| (v.to_string(), *n)).collect();
        values.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
        ValueCounts {
            values,
            others: self.others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: &Values) -> u64 {
        let ValueCounts { values, others } = values.sorted();
        values.iter().map(|(_, count)| count).sum::<u64>() + others
    }

    #[test]
    fn values_are_counted_until_their_streams_end() {
        let mut values = Values::default();
        for value in ["news", "sport", "news", ""] {
            values.add(value);
        }
        let expected = [("news", 2), ("", 1), ("sport", 1)].map(|(v, n)| (v.to_owned(), n));
        assert_eq!(values.sorted().values, expected);
        for value in ["news", "", "sport", "news"] {
            values.remove(value);
        }
        assert!(values.is_empty());
    }

    #[test]
    fn a_thousand_values_have_counts_and_the_others_share_one() {
        let mut values = Values::default();
        (0..MAX_VALUES).for_each(|n| values.add(&n.to_string()));
        assert_eq!((values.named.len(), values.others), (MAX_VALUES, 0));
        values.add("one more");
        values.add("0");
        assert_eq!((values.named.len(), values.others), (MAX_VALUES, 1));
        // A count that a value gets later includes all of its streams.
        values.remove("1");
        values.add("one more");
        assert_eq!(values.others, 2);
        values.remove("one more");
        values.remove("one more");
        values.add("one more");
        assert_eq!(values.named.get("one more"), Some(&1));
        assert!(values.buckets.is_empty());
    }

    #[test]
    fn the_counts_add_up_and_the_memory_is_bounded_whatever_the_values() {
        let mut values = Values::default();
        (0..50_000).for_each(|n| values.add(&n.to_string()));
        assert_eq!(counted(&values), 50_000);
        (0..50_000)
            .step_by(2)
            .for_each(|n| values.remove(&n.to_string()));
        assert_eq!(counted(&values), 25_000);
        assert!(values.named.len() <= MAX_VALUES && values.buckets.len() <= BUCKETS);
        (1..50_000)
            .step_by(2)
            .for_each(|n| values.remove(&n.to_string()));
        assert!(values.is_empty() && values.buckets.is_empty());
    }
}
