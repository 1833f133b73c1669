//! Waits between attempts.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);
/// A session of this length ends the back-off.
const STEADY: Duration = Duration::from_secs(10);

/// Growing waits between attempts or sessions, from 0.1 s to 5 s. Jitter spreads clients that lost
/// their broker at the same moment.
#[derive(Debug)]
pub struct Backoff {
    waits: ExponentialBackoff,
    /// The end of the last wait.
    waited: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        let builder = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            // Jitter adds up to the same amount.
            .with_max_delay(LONGEST / 2)
            .with_jitter()
            .without_max_times();
        Self {
            waits: builder.build(),
            waited: Instant::now(),
        }
    }
}

impl Backoff {
    /// Returns the wait before the next attempt. Starts over if the last session has lasted 10 s.
    pub fn wait(&mut self) -> Duration {
        if self.waited.elapsed() > STEADY {
            *self = Self::default();
        }
        let wait = self.waits.next().unwrap_or(LONGEST);
        self.waited = Instant::now() + wait;
        wait
    }
}
