//! Streams whose last sign of life this edge saw within a TTL.

use std::{num::NonZeroU32, sync::Arc};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::recent::Recent;

/// Largest number of streams, about 40 MB. More heartbeats of other streams request the state.
const MOST_STREAMS: usize = 500_000;
/// Largest number of state requests per second. Each costs RabbitMQ as much as two heartbeats
/// without a batch.
const CHECKS_PER_SECOND: NonZeroU32 = NonZeroU32::new(2_000).unwrap();
/// Largest number of state requests in flight. Workers that take longer than 50 ms get fewer per
/// second.
const MOST_CHECKS: usize = 100;

/// Recent signs of life.
pub(super) struct SignsOfLife {
    pub(super) streams: Recent<()>,
    rate: DefaultDirectRateLimiter,
    checks: Arc<Semaphore>,
}

impl Default for SignsOfLife {
    fn default() -> Self {
        Self {
            streams: Recent::new(MOST_STREAMS),
            rate: RateLimiter::direct(Quota::per_second(CHECKS_PER_SECOND)),
            checks: Arc::new(Semaphore::new(MOST_CHECKS)),
        }
    }
}

impl SignsOfLife {
    /// Returns a permit if the state of a stream may be requested now. It is held until the reply.
    pub(super) fn check(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.checks).try_acquire_owned().ok()?;
        self.rate.check().is_ok().then_some(permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_requests_are_bounded_per_second_and_in_flight() {
        let signs = SignsOfLife::default();
        let held: Vec<_> = (0..1_000).filter_map(|_| signs.check()).collect();
        assert_eq!(held.len(), MOST_CHECKS);
        drop(held);
        let allowed = (0..20_000).filter(|_| signs.check().is_some()).count();
        assert!((1_900..4_000).contains(&allowed), "{allowed}");
    }
}
