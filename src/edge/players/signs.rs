//! The streams that were alive less than a TTL ago, as far as this edge has seen.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{recent::Recent, stream_key::StreamKey};

/// Most streams: about 40 MB. Of others, more heartbeats ask for the state.
const MOST_STREAMS: usize = 500_000;
/// Most requests a second for the state of a stream. Each costs RabbitMQ as much as a heartbeat that
/// is sent alone, twice.
const CHECKS_PER_SECOND: NonZeroU32 = NonZeroU32::new(2_000).unwrap();
/// Most of these requests at a time. Workers that take longer than 50 ms get fewer a second.
const MOST_CHECKS: usize = 100;

/// Recent signs of life.
pub(super) struct SignsOfLife {
    streams: Recent<()>,
    rate: DefaultDirectRateLimiter,
    checks: Semaphore,
}

impl Default for SignsOfLife {
    fn default() -> Self {
        Self {
            streams: Recent::new(MOST_STREAMS),
            rate: RateLimiter::direct(Quota::per_second(CHECKS_PER_SECOND)),
            checks: Semaphore::new(MOST_CHECKS),
        }
    }
}

impl SignsOfLife {
    /// Stores a sign of life.
    pub(super) fn seen(&self, key: StreamKey, ttl: Duration) {
        self.streams.put(key, (), ttl);
    }

    /// Whether the last sign of life is less than a TTL ago.
    pub(super) fn are_recent(&self, key: StreamKey) -> bool {
        self.streams.has(key)
    }

    /// Returns a permit if the state of a stream may be requested now. It is held until the reply.
    pub(super) fn check(&self) -> Option<SemaphorePermit<'_>> {
        let permit = self.checks.try_acquire().ok()?;
        self.rate.check().is_ok().then_some(permit)
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_bounded_in_a_second_and_at_a_time() {
        let signs = SignsOfLife::default();
        let held: Vec<_> = (0..1_000).filter_map(|_| signs.check()).collect();
        assert_eq!(held.len(), MOST_CHECKS);
        drop(held);
        let allowed = (0..20_000).filter(|_| signs.check().is_some()).count();
        assert!((1_900..4_000).contains(&allowed), "{allowed}");
    }
}
