//! When to try again what has failed.

use std::time::Duration;

use super::clock;
use crate::{broker::backoff, replica::Mono};

/// A session that lasted so long ends the back-off, in milliseconds.
const STEADY_MS: u64 = 10_000;

/// The waits between sessions that end.
pub(super) struct Retry {
    waits: Box<dyn Iterator<Item = Duration> + Send>,
    began: Mono,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self {
            waits: Box::new(backoff()),
            began: clock::now().mono,
        }
    }

    /// A session begins.
    pub(super) fn begin(&mut self) {
        self.began = clock::now().mono;
    }

    /// It has ended: how long to wait before the next.
    pub(super) fn wait(&mut self) -> Duration {
        if clock::now().mono.ms_since(self.began) > STEADY_MS {
            self.waits = Box::new(backoff());
        }
        self.waits.next().unwrap_or(Duration::from_secs(5))
    }
}
