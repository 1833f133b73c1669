//! Bad news about streams, kept for the next request of their players.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{counter, describe_counter};
use moka::{
    policy::EvictionPolicy,
    sync::{Cache, CacheBuilder},
};

use super::Interval;
use crate::client::{AccountId, BadNews, NewsReader, StopCause, StreamId, Tenant};

const NEWS: &str = "streamwatch_edge_news_total";
/// Most streams whose news are kept: about 30 MB. The oldest are dropped.
const MOST_STREAMS: u64 = 100_000;
/// The TTL until the first reply states it.
const FIRST_TTL: Duration = Duration::from_secs(90);

/// A stream of an account. A caller cannot choose the hash of its account, so that news never reach
/// a stream with the same id in another account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey(u64, u128);

impl StreamKey {
    pub(in crate::edge) fn new(tenant: &Tenant, account: &AccountId, stream: StreamId) -> Self {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let account = SECRET.hash_one((tenant.as_str(), account.as_str()));
        Self(account, stream.0.as_u128())
    }
}

/// Figures of the caches and the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Memory of the events that wait for RabbitMQ, in bytes.
    pub waiting_bytes: usize,
    /// Streams whose news are kept.
    pub kept_news: u64,
    /// Streams with a recent sign of life.
    pub signs_of_life: u64,
}

#[derive(Clone, Debug)]
enum Kept {
    Stopped(StopCause),
    Interval(Interval),
}

/// The last news of each stream, for a TTL. Without a restart, a change of the TTL does not change
/// the time for which earlier news are kept.
pub(super) struct NewsCache {
    streams: Cache<StreamKey, (Kept, Duration)>,
    ttl_ms: AtomicU64,
}

/// News are kept for the TTL in force.
struct ForTtl;

impl moka::Expiry<StreamKey, (Kept, Duration)> for ForTtl {
    fn expire_after_create(
        &self,
        _: &StreamKey,
        (_, ttl): &(Kept, Duration),
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(*ttl)
    }

    fn expire_after_update(
        &self,
        _: &StreamKey,
        (_, ttl): &(Kept, Duration),
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(*ttl)
    }
}

impl Default for NewsCache {
    fn default() -> Self {
        let cache = Self {
            streams: CacheBuilder::new(MOST_STREAMS)
                .eviction_policy(EvictionPolicy::lru())
                .expire_after(ForTtl)
                .build(),
            ttl_ms: AtomicU64::new(0),
        };
        cache.set_ttl(FIRST_TTL);
        cache
    }
}

impl NewsCache {
    /// The TTL that a reply has stated last.
    pub(super) fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms.load(Ordering::Relaxed))
    }

    pub(super) fn set_ttl(&self, ttl: Duration) {
        let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.ttl_ms.store(ms, Ordering::Relaxed);
    }

    /// The cause if the stream was stopped.
    pub(super) fn stopped(&self, key: StreamKey) -> Option<StopCause> {
        match self.streams.get(&key)?.0 {
            Kept::Stopped(cause) => Some(cause),
            Kept::Interval(_) => None,
        }
    }

    /// Removes the changed interval of a stream.
    pub(super) fn take_interval(&self, key: StreamKey) -> Option<Interval> {
        match self.streams.get(&key)?.0 {
            Kept::Interval(interval) => {
                self.streams.invalidate(&key);
                Some(interval)
            }
            Kept::Stopped(_) => None,
        }
    }

    /// Stores that a stream was stopped, until a reply to its next heartbeat states another cause.
    pub(super) fn stopped_because(&self, key: StreamKey, cause: StopCause) {
        self.put(key, Kept::Stopped(cause));
    }

    /// Drops the news of a stream that was opened.
    pub(super) fn forget(&self, key: StreamKey) {
        self.streams.invalidate(&key);
    }

    pub(super) fn len(&self) -> u64 {
        self.streams.run_pending_tasks();
        self.streams.entry_count()
    }

    fn put(&self, key: StreamKey, kept: Kept) {
        self.streams.insert(key, (kept, self.ttl()));
    }

    fn add(&self, key: StreamKey, news: BadNews) -> &'static str {
        match news {
            BadNews::Stopped(cause) => {
                self.put(key, Kept::Stopped(cause));
                "stopped"
            }
            BadNews::Interval { every, ttl } => {
                self.set_ttl(ttl);
                self.put(key, Kept::Interval(Interval { every, ttl }));
                "interval"
            }
            BadNews::Rejected(problem) => {
                tracing::debug!(code = %problem.code, "a worker has rejected an event");
                "rejected"
            }
            BadNews::Lost => {
                tracing::warn!(
                    "a confirmed event has no effect: its partition has changed, and it could not \
                     be sent again within 30 s; the next heartbeat of its stream counts"
                );
                "lost"
            }
        }
    }
}

/// Keeps the news of `reader`.
pub(super) async fn keep(mut reader: NewsReader, cache: Arc<NewsCache>) {
    describe_counter!(
        NEWS,
        "News about streams in replies of workers to heartbeats and stops, by kind; those that \
         this edge was too slow to read are missed. sum() over edges."
    );
    let mut lost = 0;
    while let Some(one) = reader.next().await {
        let key = StreamKey::new(&one.tenant, &one.account, one.stream);
        let kind = cache.add(key, one.news);
        counter!(NEWS, "kind" => kind).increment(1);
        counter!(NEWS, "kind" => "missed").increment(reader.lost() - lost);
        lost = reader.lost();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::StoppedReason;

    fn key(account: &str, stream: StreamId) -> StreamKey {
        let account = AccountId::new(account).unwrap();
        StreamKey::new(&Tenant::new("acme").unwrap(), &account, stream)
    }

    #[test]
    fn news_are_kept_for_their_stream_alone() {
        let (cache, stream) = (NewsCache::default(), StreamId::generate());
        let cause = StopCause::from(StoppedReason::Replaced);
        cache.add(key("alice", stream), BadNews::Stopped(cause.clone()));
        assert_eq!(cache.stopped(key("alice", stream)), Some(cause));
        assert_eq!(cache.stopped(key("bob", stream)), None);
        assert_eq!(cache.stopped(key("alice", StreamId::generate())), None);
        cache.forget(key("alice", stream));
        assert_eq!(cache.stopped(key("alice", stream)), None);
    }

    #[test]
    fn a_changed_interval_is_returned_once_and_sets_the_ttl() {
        let (cache, key) = (NewsCache::default(), key("alice", StreamId::generate()));
        assert_eq!(cache.ttl(), FIRST_TTL);
        let interval = Interval {
            every: Duration::from_secs(10),
            ttl: Duration::from_secs(30),
        };
        let Interval { every, ttl } = interval;
        cache.add(key, BadNews::Interval { every, ttl });
        assert_eq!((cache.ttl(), cache.stopped(key)), (ttl, None));
        assert_eq!(cache.take_interval(key), Some(interval));
        assert_eq!(cache.take_interval(key), None);
    }

    #[test]
    fn news_expire_with_the_ttl() {
        let (cache, key) = (NewsCache::default(), key("alice", StreamId::generate()));
        cache.set_ttl(Duration::ZERO);
        cache.stopped_because(key, StoppedReason::Stopped.into());
        assert_eq!(cache.stopped(key), None);
    }
}
