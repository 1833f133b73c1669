//! RabbitMQ's clock, as seen by a worker.

use crate::domain::{Entry, Internal, InternalEntry, WallTime};

/// Own entries of which the shortest delay counts.
const LATEST: usize = 4;

/// The difference between RabbitMQ's clock and the worker's, learnt from the worker's own log
/// entries: RabbitMQ adds the time of arrival to them as to requests, if its interceptor is on.
#[derive(Debug, Default)]
pub(super) struct BrokerClock {
    /// Milliseconds by which RabbitMQ's clock was ahead, with the entries' delays.
    ahead_ms: [Option<i64>; LATEST],
    next: usize,
}

impl BrokerClock {
    /// Records an own entry that RabbitMQ received at this time.
    pub(super) const fn learn(&mut self, appended: WallTime, received: WallTime) {
        self.ahead_ms[self.next] = Some(received.0.saturating_sub(appended.0));
        self.next = (self.next + 1) % LATEST;
    }

    /// RabbitMQ's time at the worker's time `now`; `None` if RabbitMQ adds no times of arrival.
    pub(super) fn at(&self, now: WallTime) -> Option<WallTime> {
        let ahead_ms = self.ahead_ms.iter().flatten().min()?;
        Some(WallTime(now.0.saturating_add(*ahead_ms)))
    }
}

/// The worker's time when it appended an entry.
pub(super) const fn appended(entry: &Entry) -> Option<WallTime> {
    match entry {
        Entry::Internal(InternalEntry {
            writer_state: Some(writer_state),
            ..
        }) => Some(writer_state.wall),
        Entry::Internal(InternalEntry {
            body: Internal::Join { wall },
            ..
        }) => Some(*wall),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_with_the_shortest_delay_of_the_latest_four_counts() {
        let mut clock = BrokerClock::default();
        assert_eq!(clock.at(WallTime(0)), None);
        for (appended, received) in [(0, 5_900), (1_000, 6_010), (2_000, 7_500)] {
            clock.learn(WallTime(appended), WallTime(received));
        }
        assert_eq!(clock.at(WallTime(3_000)), Some(WallTime(8_010)));
        // The worker's clock was set.
        for n in 0..4 {
            clock.learn(WallTime(20_000 + n), WallTime(9_000 + n));
        }
        assert_eq!(clock.at(WallTime(21_000)), Some(WallTime(10_000)));
    }
}
