//! The workers that serve a partition, and their local queues, as seen in its log.

use super::Mono;

/// Number of intervals without an entry of a worker until it is not counted any more, and its queue
/// is abandoned. A busy worker appends its ticks late.
const SILENT_INTERVALS: u64 = 10;
/// Time after which an abandoned queue is forgotten, in milliseconds: RabbitMQ has deleted it.
const FORGOTTEN_MS: u64 = 120_000;
/// Maximum number of other workers.
const MAX_OTHERS: usize = 64;
/// Maximum number of queues, above the number of workers of a partition.
const MAX_QUEUES: usize = 128;

/// The time of the last entry of at most `MOST` ids. A further one takes the place of the one that was
/// seen longest ago.
#[derive(Debug, Default)]
struct LastSeen<const MOST: usize>(Vec<(u64, Mono)>);

impl<const MOST: usize> LastSeen<MOST> {
    fn seen(&mut self, id: u64, now: Mono) {
        if let Some(known) = self.0.iter_mut().find(|(known, _)| *known == id) {
            known.1 = now;
            return;
        }
        if self.0.len() == MOST
            && let Some(oldest) = (0..MOST).min_by_key(|&at| self.0[at].1)
        {
            self.0.swap_remove(oldest);
        }
        self.0.push((id, now));
    }

    /// Removes and returns the ids without an entry for so many milliseconds.
    fn take_silent(&mut self, now: Mono, ms: u64) -> Vec<u64> {
        let silent = self.0.extract_if(.., |(_, seen)| now.ms_since(*seen) >= ms);
        silent.map(|(id, _)| id).collect()
    }
}

/// The other workers that serve the partition.
#[derive(Debug, Default)]
pub(super) struct Workers(LastSeen<MAX_OTHERS>);

impl Workers {
    /// Records that an entry of another worker was applied, and whether that worker serves the
    /// partition: a worker that shuts down states it in its last entry.
    pub(super) fn seen(&mut self, writer: u64, serves: bool, now: Mono) {
        if serves {
            self.0.seen(writer, now);
        } else {
            self.0.0.retain(|(other, _)| *other != writer);
        }
    }

    /// The number of workers, this one included.
    pub(super) fn count(&mut self, now: Mono, interval_ms: u64) -> usize {
        self.0.take_silent(now, SILENT_INTERVALS * interval_ms);
        1 + self.0.0.len()
    }
}

/// The local queues in the log. A worker's state contains the number of its writer's local queue.
///
/// A queue is abandoned once no entry has contained its number for ten intervals: its worker has ended,
/// or consumes another queue. A worker that is not dead leaves its queue by itself before that, after
/// six intervals in which no marker was read back.
#[derive(Debug, Default)]
pub(super) struct LocalQueues {
    seen: LastSeen<MAX_QUEUES>,
    /// The queues of a snapshot, until the first tick.
    restored: Vec<u64>,
}

impl LocalQueues {
    /// The queues in a snapshot. They count as seen at the first tick.
    pub(super) fn restored(mut queues: Vec<u64>) -> Self {
        queues.truncate(MAX_QUEUES);
        Self {
            seen: LastSeen::default(),
            restored: queues,
        }
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.seen.0.iter().map(|(queue, _)| *queue)
    }

    /// Records an entry of a worker that consumes this queue.
    pub(super) fn seen(&mut self, queue: u64, now: Mono) {
        self.seen.seen(queue, now);
    }

    pub(super) fn tick(&mut self, now: Mono) {
        for queue in std::mem::take(&mut self.restored) {
            self.seen(queue, now);
        }
    }

    /// Removes and returns the abandoned queues.
    pub(super) fn take_abandoned(&mut self, now: Mono, interval_ms: u64) -> Vec<u64> {
        self.seen.take_silent(now, SILENT_INTERVALS * interval_ms)
    }

    /// Forgets the queues that RabbitMQ has deleted.
    pub(super) fn forget_deleted(&mut self, now: Mono) {
        self.seen.take_silent(now, FORGOTTEN_MS);
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
        it.seen(7, ms(0));
        it.forget_deleted(ms(FORGOTTEN_MS));
        assert!(it.take_abandoned(ms(FORGOTTEN_MS), INTERVAL).is_empty());
    }

    #[test]
    fn the_number_of_stored_ids_is_bounded_and_the_newest_stay() {
        let mut it = LocalQueues::default();
        (0..1_000).for_each(|queue| it.seen(queue, ms(queue)));
        let mut abandoned = it.take_abandoned(ms(2_000), INTERVAL);
        abandoned.sort_unstable();
        assert!(abandoned.into_iter().eq(1_000 - MAX_QUEUES as u64..1_000));
        let mut it = Workers::default();
        (0..1_000).for_each(|writer| it.seen(writer, true, ms(1)));
        assert_eq!(it.count(ms(2), INTERVAL), 1 + MAX_OTHERS);
    }
}
