//! The time of a shutdown.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long a shutdown may take as a whole, from the signal to the end of the process. All waits of
/// a shutdown are shares of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace(pub Duration);

impl Grace {
    /// How long requests that were taken may take: 70 %.
    #[must_use]
    pub const fn draining(self) -> Duration {
        Duration::from_millis(self.ms() / 10 * 7)
    }

    /// How long the last replies and the ends of the connections may take: 20 %.
    #[must_use]
    pub const fn closing(self) -> Duration {
        Duration::from_millis(self.ms() / 10 * 2)
    }

    /// Waits until `shutdown` is true and this time has passed.
    pub async fn over(self, mut shutdown: watch::Receiver<bool>) {
        if shutdown.wait_for(|stop| *stop).await.is_err() {
            return std::future::pending().await;
        }
        sleep_until(Instant::now() + Duration::from_millis(self.ms())).await;
    }

    /// A day at most: a moment that far ahead can be reckoned with.
    const fn ms(self) -> u64 {
        const DAY_MS: u128 = 86_400_000;
        let ms = self.0.as_millis();
        #[expect(clippy::cast_possible_truncation, reason = "a day at most")]
        let ms = if ms > DAY_MS { DAY_MS } else { ms } as u64;
        ms
    }
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
