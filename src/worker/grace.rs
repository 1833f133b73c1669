//! The time limit of a shutdown.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// The time limit of a shutdown, from the signal to the end of the process. All waits of a shutdown
/// are shares of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace(pub Duration);

impl Grace {
    /// The share for pending requests: 70 %.
    #[must_use]
    pub fn draining(self) -> Duration {
        self.whole() / 10 * 7
    }

    /// The share for the last replies and for closing connections: 20 %.
    #[must_use]
    pub fn closing(self) -> Duration {
        self.whole() / 10 * 2
    }

    /// Waits until `shutdown` is true and this time has passed.
    pub async fn over(self, mut shutdown: watch::Receiver<bool>) {
        if shutdown.wait_for(|stop| *stop).await.is_err() {
            return std::future::pending().await;
        }
        sleep_until(Instant::now() + self.whole()).await;
    }

    /// At most a day: adding it to the current time cannot overflow.
    fn whole(self) -> Duration {
        self.0.min(Duration::from_secs(86_400))
    }
}

/// Waits until a shutdown is requested.
pub(super) async fn requested(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_fit_into_the_whole() {
        let grace = Grace(Duration::from_secs(10));
        assert_eq!(grace.draining(), Duration::from_secs(7));
        assert_eq!(grace.closing(), Duration::from_secs(2));
        let long = Grace(Duration::MAX);
        assert!(long.draining() + long.closing() < Duration::from_secs(86_400));
    }
}
