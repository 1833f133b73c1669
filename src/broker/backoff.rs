//! Waits between attempts.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::Addresses;

/// The shortest wait between sessions and between attempts to open a connection.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest of these waits.
const LONGEST: Duration = Duration::from_secs(5);
/// The growth of the wait, less than 2 so that the last wait is short: a quorum queue or a log
/// whose leader's node dies has a new leader after 1 s to 8 s.
const FACTOR: f32 = 1.5;

/// Growing waits between attempts or sessions, by default from 0.1 s to 5 s. They grow once all
/// addresses were tried: while one node of a cluster is down, the others can be tried soon. Jitter
/// spreads clients that lost their broker at the same moment.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    waits: ExponentialBackoff,
    longest: Duration,
    wait: Duration,
    /// Attempts with each wait.
    attempts: usize,
    /// Attempts left with the current wait.
    left: usize,
    /// The end of the last wait.
    waited: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(SHORTEST, LONGEST)
    }
}

impl Backoff {
    /// Waits between attempts at one address after another.
    #[must_use]
    pub fn over(addresses: &Addresses) -> Self {
        Self {
            attempts: addresses.len(),
            ..Self::default()
        }
    }

    /// Waits between attempts, from `shortest` to `longest`.
    pub(super) fn between(shortest: Duration, longest: Duration) -> Self {
        let builder = ExponentialBuilder::default()
            .with_factor(FACTOR)
            .with_min_delay(shortest)
            // Jitter adds up to the same amount.
            .with_max_delay(longest / 2)
            .with_jitter()
            .without_max_times();
        Self {
            builder,
            waits: builder.build(),
            longest,
            wait: Duration::ZERO,
            attempts: 1,
            left: 0,
            waited: Instant::now(),
        }
    }

    /// Starts over with the shortest wait.
    pub fn reset(&mut self) {
        self.waits = self.builder.build();
        self.left = 0;
    }

    /// Returns the wait before the next attempt. Starts over if the last session has lasted twice
    /// the longest wait.
    pub fn wait(&mut self) -> Duration {
        if self.waited.elapsed() > 2 * self.longest {
            self.reset();
        }
        if self.left == 0 {
            self.left = self.attempts;
            self.wait = self.waits.next().unwrap_or(self.longest);
        }
        self.left -= 1;
        self.waited = Instant::now() + self.wait;
        self.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_once_all_addresses_were_tried() {
        let mut backoff = Backoff::over(&"amqp://a,amqp://b".parse().unwrap());
        let waits: Vec<_> = (0..60).map(|_| backoff.wait()).collect();
        assert!(waits.chunks(2).all(|pair| pair[0] == pair[1]));
        assert!(waits[0] < Duration::from_millis(250));
        assert!(waits[58] >= LONGEST / 2 && waits[58] <= LONGEST);
        backoff.reset();
        assert!(backoff.wait() < Duration::from_millis(250));
    }
}
