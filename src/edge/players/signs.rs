//! The streams that were alive less than a TTL ago, as far as this edge has seen.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::{
    Expiry,
    policy::EvictionPolicy,
    sync::{Cache, CacheBuilder},
};

use super::news::StreamKey;

/// Most streams: about 100 MB. Of others, more heartbeats ask for the state.
const MOST_STREAMS: u64 = 500_000;
/// Most requests a second for the state of a stream.
const CHECKS_PER_SECOND: NonZeroU32 = NonZeroU32::new(500).unwrap();

/// Recent signs of life.
pub(super) struct SignsOfLife {
    /// The TTL of each stream at its last sign of life.
    streams: Cache<StreamKey, Duration>,
    checks: DefaultDirectRateLimiter,
}

/// Each entry lives for its own value, from its last insertion on.
struct ForTtl;

impl Expiry<StreamKey, Duration> for ForTtl {
    fn expire_after_create(
        &self,
        _: &StreamKey,
        ttl: &Duration,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(*ttl)
    }

    fn expire_after_update(
        &self,
        _: &StreamKey,
        ttl: &Duration,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(*ttl)
    }
}

impl Default for SignsOfLife {
    fn default() -> Self {
        Self {
            streams: CacheBuilder::new(MOST_STREAMS)
                .eviction_policy(EvictionPolicy::lru())
                .expire_after(ForTtl)
                .build(),
            checks: RateLimiter::direct(Quota::per_second(CHECKS_PER_SECOND)),
        }
    }
}

impl SignsOfLife {
    /// Stores a sign of life.
    pub(super) fn seen(&self, key: StreamKey, ttl: Duration) {
        self.streams.insert(key, ttl);
    }

    /// Whether the last sign of life is less than a TTL ago.
    pub(super) fn are_recent(&self, key: StreamKey) -> bool {
        self.streams.contains_key(&key)
    }

    /// Whether the state of a stream may be requested now.
    pub(super) fn may_check(&self) -> bool {
        self.checks.check().is_ok()
    }

    pub(super) fn len(&self) -> u64 {
        self.streams.run_pending_tasks();
        self.streams.entry_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{AccountId, StreamId, Tenant};

    fn key() -> StreamKey {
        let account = AccountId::new("alice").unwrap();
        StreamKey::new(
            &Tenant::new("acme").unwrap(),
            &account,
            StreamId::generate(),
        )
    }

    #[test]
    fn a_sign_of_life_is_recent_for_the_ttl_of_its_stream() {
        let signs = SignsOfLife::default();
        let (one, other) = (key(), key());
        signs.seen(one, Duration::from_secs(60));
        signs.seen(other, Duration::ZERO);
        assert!(signs.are_recent(one) && !signs.are_recent(other));
        assert!(!signs.are_recent(key()));
        signs.seen(one, Duration::ZERO);
        assert!(!signs.are_recent(one));
    }

    #[test]
    fn checks_are_bounded() {
        let signs = SignsOfLife::default();
        let allowed = (0..10_000).filter(|_| signs.may_check()).count();
        assert!((500..1_500).contains(&allowed), "{allowed}");
    }
}
