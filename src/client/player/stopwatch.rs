//! Elapsed time, including the time that the device sleeps.

use std::time::Duration;

use crate::clock::uptime;

/// Interval of checks whether a time has elapsed, since timers stop while the device sleeps.
const CHECK_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch {
    began: Duration,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { began: uptime() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        uptime().saturating_sub(self.began)
    }

    pub(super) async fn wait(&self, duration: Duration) {
        while let Some(left) = duration
            .checked_sub(self.elapsed())
            .filter(|it| !it.is_zero())
        {
            tokio::time::sleep(left.min(CHECK_EVERY)).await;
        }
    }
}
