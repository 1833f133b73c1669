//! The workers that serve a partition, as seen in its log.

use super::Mono;

/// Number of intervals without an entry of a worker until it is not counted any more. A busy worker
/// appends its ticks late.
const SILENT_INTERVALS: u64 = 10;
/// Maximum number of other workers.
const MAX_OTHERS: usize = 64;

/// The other workers that serve the partition.
#[derive(Debug, Default)]
pub(super) struct Workers {
    others: Vec<(u64, Mono)>,
}

impl Workers {
    /// Records that an entry of another worker was applied, and whether that worker serves the
    /// partition: a worker that shuts down states it in its last entry.
    pub(super) fn seen(&mut self, writer: u64, serves: bool, now: Mono) {
        let known = self.others.iter().position(|(other, _)| *other == writer);
        match (known, serves) {
            (Some(at), true) => self.others[at].1 = now,
            (Some(at), false) => drop(self.others.swap_remove(at)),
            (None, true) if self.others.len() < MAX_OTHERS => self.others.push((writer, now)),
            (None, _) => {}
        }
    }

    /// The number of workers, this one included.
    pub(super) fn count(&mut self, now: Mono, interval_ms: u64) -> usize {
        let patience_ms = SILENT_INTERVALS * interval_ms;
        self.others
            .retain(|(_, seen)| now.ms_since(*seen) < patience_ms);
        1 + self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 100;

    const fn ms(n: u64) -> Mono {
        Mono(n * 1_000)
    }

    #[test]
    fn a_worker_counts_from_its_first_entry_until_it_leaves_or_is_silent() {
        let mut it = Workers::default();
        assert_eq!(it.count(ms(0), INTERVAL), 1);
        it.seen(1, true, ms(10));
        it.seen(2, true, ms(20));
        it.seen(1, true, ms(500));
        assert_eq!(it.count(ms(1_019), INTERVAL), 3);
        assert_eq!(it.count(ms(1_020), INTERVAL), 2);
        it.seen(1, false, ms(1_030));
        assert_eq!(it.count(ms(1_030), INTERVAL), 1);
    }

    #[test]
    fn the_number_of_stored_workers_is_bounded() {
        let mut it = Workers::default();
        (0..1_000).for_each(|writer| it.seen(writer, true, ms(1)));
        assert_eq!(it.count(ms(2), INTERVAL), 1 + MAX_OTHERS);
        assert_eq!(it.count(ms(2_000), INTERVAL), 1);
    }
}
