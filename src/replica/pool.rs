//! Metadata that many streams have in common, kept once.

use std::collections::HashSet;

use crate::domain::Metadata;

/// Most values that are looked for: where every stream says something else, looking is in vain.
const MOST: usize = 65_536;
/// New values after which those that nobody has any more are freed, at least.
const SWEEP_AFTER: usize = 1_024;

/// What the streams of a partition say, each value once.
#[derive(Debug, Default)]
pub(super) struct Pool {
    known: HashSet<Metadata>,
    /// How many the last sweep left.
    left: usize,
    /// New values since.
    fresh: usize,
}

impl Pool {
    /// The same metadata, in memory once for all that have it.
    pub(super) fn shared(&mut self, metadata: &Metadata) -> Metadata {
        if metadata.is_empty() {
            return Metadata::default();
        }
        if let Some(known) = self.known.get(metadata) {
            return known.clone();
        }
        self.fresh += 1;
        if self.fresh > SWEEP_AFTER.max(self.left) {
            self.sweep();
        }
        if self.known.len() < MOST {
            self.known.insert(metadata.clone());
        }
        metadata.clone()
    }

    /// Frees what nobody has any more.
    pub(super) fn sweep(&mut self) {
        self.fresh = 0;
        self.known.retain(Metadata::is_shared);
        self.known.shrink_to_fit();
        self.left = self.known.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: usize) -> Metadata {
        Metadata::new(&mut [("asset", value.to_string())]).unwrap()
    }

    #[test]
    fn the_same_is_kept_once() {
        let mut pool = Pool::default();
        let first = pool.shared(&of(1));
        drop(pool.shared(&of(1)));
        assert!(first.is_shared());
        assert_eq!(pool.shared(&of(2)), of(2));
        assert_eq!(pool.shared(&Metadata::default()), Metadata::default());
        assert_eq!(pool.known.len(), 2);
    }

    #[test]
    fn what_nobody_has_any_more_is_freed() {
        let mut pool = Pool::default();
        let kept = pool.shared(&of(0));
        for value in 1..10 * SWEEP_AFTER {
            pool.shared(&of(value));
            assert!(pool.known.len() <= 2 * SWEEP_AFTER + 1);
        }
        pool.sweep();
        assert_eq!(pool.known.len(), 1);
        assert!(pool.known.contains(&kept));
    }

    #[test]
    fn it_holds_so_many_and_no_more() {
        let mut pool = Pool::default();
        let all: Vec<_> = (0..MOST + 10)
            .map(|value| pool.shared(&of(value)))
            .collect();
        assert_eq!((pool.known.len(), all.len()), (MOST, MOST + 10));
    }
}
