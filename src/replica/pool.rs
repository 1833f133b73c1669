//! Deduplication of metadata.

use moka::sync::Cache;

use crate::domain::Metadata;

/// Maximum size of the cache, in bytes, its overhead included.
const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Approximate overhead per value, in bytes.
const OVERHEAD_BYTES: usize = 256;

/// Deduplicated metadata of a partition's streams, in a bounded cache: frequent values stay, and
/// rare ones do not displace them. A value that is missing here is stored once more, without other
/// effects.
#[derive(Debug)]
pub(super) struct Pool(Cache<Metadata, Metadata>);

impl Default for Pool {
    fn default() -> Self {
        Self::of(MAX_BYTES)
    }
}

impl Pool {
    fn of(most_bytes: u64) -> Self {
        let bytes = |value: &Metadata| OVERHEAD_BYTES + value.bytes();
        let weigher =
            move |_: &Metadata, value: &Metadata| u32::try_from(bytes(value)).unwrap_or(u32::MAX);
        let cache = Cache::builder().max_capacity(most_bytes).weigher(weigher);
        Self(cache.build())
    }

    /// Returns equal metadata that shares its memory with other streams.
    pub(super) fn shared(&self, metadata: &Metadata) -> Metadata {
        if metadata.is_empty() {
            return Metadata::default();
        }
        if let Some(known) = self.0.get(metadata) {
            return known;
        }
        self.0.insert(metadata.clone(), metadata.clone());
        metadata.clone()
    }

    /// Empties the cache. Streams keep their metadata.
    pub(super) fn clear(&self) {
        self.0.invalidate_all();
    }

    /// Runs moka's pending tasks.
    pub(super) fn housekeep(&self) {
        self.0.run_pending_tasks();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: usize) -> Metadata {
        Metadata::new(&mut [("asset", value.to_string())]).unwrap()
    }

    #[test]
    fn equal_metadata_is_stored_once() {
        let pool = Pool::default();
        let first = pool.shared(&of(1));
        assert!(pool.shared(&of(1)).is_same(&first));
        assert!(!pool.shared(&of(2)).is_same(&first));
        assert_eq!(pool.shared(&Metadata::default()), Metadata::default());
    }

    #[test]
    fn frequent_values_stay_and_the_size_is_bounded() {
        let room = 100 * (OVERHEAD_BYTES as u64 + 20);
        let pool = Pool::of(room);
        let mut often = pool.shared(&of(0));
        for round in 1..100 {
            // More values between two uses than fit into the cache.
            for value in 1..=150 {
                pool.shared(&of(1_000 * round + value));
            }
            pool.housekeep();
            assert!(pool.0.weighted_size() <= room);
            let again = pool.shared(&of(0));
            // A value counts as frequent after some rounds.
            assert!(again.is_same(&often) || round < 20, "{round}");
            often = again;
        }
    }

    #[test]
    fn evicted_metadata_stays_with_its_streams() {
        let pool = Pool::default();
        let first = pool.shared(&of(1));
        pool.clear();
        pool.housekeep();
        assert_eq!(pool.0.entry_count(), 0);
        assert_eq!(first, of(1));
        assert!(!pool.shared(&of(1)).is_same(&first));
    }
}
