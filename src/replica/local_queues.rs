//! The local queues of a partition's workers, as seen in its log.
//!
//! A worker's state contains the number of its writer's local queue. A queue is abandoned once no entry has
//! contained its number for ten intervals: its worker has ended, or consumes another queue. A worker
//! that is not dead leaves its queue by itself before that, after six intervals in which no marker
//! was read back.

use super::Mono;

/// Number of intervals without an entry of a queue's worker until the queue is abandoned.
const SILENT_INTERVALS: u64 = 10;
/// Time after which an abandoned queue is forgotten, in milliseconds: RabbitMQ has deleted it.
const FORGOTTEN_MS: u64 = 120_000;
/// Maximum number of queues, above the number of workers of a partition.
const MAX_QUEUES: usize = 128;

/// The local queues in the log.
#[derive(Debug, Default)]
pub(super) struct LocalQueues {
    seen: Vec<(u64, Mono)>,
}

impl LocalQueues {
    /// Records an entry of a worker that consumes this queue.
    pub(super) fn seen(&mut self, queue: u64, now: Mono) {
        if let Some(known) = self.seen.iter_mut().find(|(known, _)| *known == queue) {
            known.1 = now;
            return;
        }
        if self.seen.len() == MAX_QUEUES
            && let Some(oldest) = (0..MAX_QUEUES).min_by_key(|&at| self.seen[at].1)
        {
            self.seen.swap_remove(oldest);
        }
        self.seen.push((queue, now));
    }

    /// Removes and returns the abandoned queues.
    pub(super) fn take_abandoned(&mut self, now: Mono, interval_ms: u64) -> Vec<u64> {
        let patience_ms = SILENT_INTERVALS * interval_ms;
        let abandoned = self
            .seen
            .extract_if(.., |(_, seen)| now.ms_since(*seen) >= patience_ms);
        abandoned.map(|(queue, _)| queue).collect()
    }

    /// Forgets the queues that RabbitMQ has deleted.
    pub(super) fn forget_deleted(&mut self, now: Mono) {
        self.seen
            .retain(|(_, seen)| now.ms_since(*seen) < FORGOTTEN_MS);
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
    fn a_queue_is_abandoned_once_no_entry_contains_it_for_ten_intervals() {
        let mut it = LocalQueues::default();
        it.seen(1, ms(0));
        it.seen(2, ms(10));
        it.seen(1, ms(500));
        assert!(it.take_abandoned(ms(1_009), INTERVAL).is_empty());
        assert_eq!(it.take_abandoned(ms(1_010), INTERVAL), [2]);
        assert!(it.take_abandoned(ms(1_499), INTERVAL).is_empty());
        assert_eq!(it.take_abandoned(ms(1_500), INTERVAL), [1]);
        it.seen(2, ms(1_600));
        assert_eq!(it.take_abandoned(ms(2_600), INTERVAL), [2], "it returned");
    }

    #[test]
    fn the_number_of_stored_queues_is_bounded_and_the_newest_stay() {
        let mut it = LocalQueues::default();
        (0..1_000).for_each(|queue| it.seen(queue, ms(queue)));
        it.forget_deleted(ms(1_000));
        let mut abandoned = it.take_abandoned(ms(2_000), INTERVAL);
        abandoned.sort_unstable();
        assert!(abandoned.into_iter().eq(1_000 - MAX_QUEUES as u64..1_000));
        it.seen(7, ms(0));
        it.forget_deleted(ms(FORGOTTEN_MS));
        assert!(it.take_abandoned(ms(FORGOTTEN_MS), INTERVAL).is_empty());
    }
}
