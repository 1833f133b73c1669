//! How long ago something was, on a device that may have slept meanwhile.

use std::time::Duration;

use crate::clock::uptime;

/// So often it is looked whether a time is over: a timer stands still while its device sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Since a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    began: Duration,
}

impl Silence {
    pub(super) fn begins() -> Self {
        Self { began: uptime() }
    }

    pub(super) fn lasts(&self) -> Duration {
        uptime().saturating_sub(self.began)
    }

    /// Waits until it has lasted so long.
    pub(super) async fn until(&self, long: Duration) {
        while let Some(left) = long.checked_sub(self.lasts()).filter(|it| !it.is_zero()) {
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}
