//! Bad news about streams, kept for the next request of their players.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{counter, describe_counter};

use super::{HeartbeatReply, Interval, recent::Recent, stream_key::StreamKey};
use crate::client::{BadNews, NewsReader, StopCause};

const NEWS: &str = "streamwatch_edge_news_total";
/// Largest number of streams with news, about 15 MB. The oldest news are dropped.
const MOST_STREAMS: usize = 100_000;
/// The TTL until the first reply states it.
const FIRST_TTL_MS: u64 = 90_000;

/// The last news of each stream, kept for a TTL. A change of the TTL does not affect news that are
/// already kept.
pub(super) struct NewsCache {
    /// The reply to the next heartbeat of each stream: it was stopped, or its interval has changed.
    pub(super) streams: Recent<HeartbeatReply>,
    ttl_ms: AtomicU64,
}

impl Default for NewsCache {
    fn default() -> Self {
        Self {
            streams: Recent::new(MOST_STREAMS),
            ttl_ms: AtomicU64::new(FIRST_TTL_MS),
        }
    }
}

impl NewsCache {
    /// The TTL in the last reply that stated one.
    pub(super) fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms.load(Ordering::Relaxed))
    }

    pub(super) fn set_ttl(&self, ttl: Duration) {
        let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.ttl_ms.store(ms, Ordering::Relaxed);
    }

    /// Whether the stream was stopped.
    pub(super) fn is_stopped(&self, key: StreamKey) -> bool {
        matches!(self.streams.get(key), Some(HeartbeatReply::Stopped(_)))
    }

    /// Stores that a stream was stopped, until a reply to its next heartbeat states another cause.
    pub(super) fn stopped_because(&self, key: StreamKey, cause: StopCause) {
        self.put(key, HeartbeatReply::Stopped(cause));
    }

    fn put(&self, key: StreamKey, reply: HeartbeatReply) {
        self.streams.put(key, reply, self.ttl());
    }

    fn add(&self, key: StreamKey, news: BadNews) -> &'static str {
        match news {
            BadNews::Stopped(cause) => {
                self.stopped_because(key, cause);
                "stopped"
            }
            BadNews::Interval { every, ttl } => {
                self.set_ttl(ttl);
                let changed = Some(Interval { every, ttl });
                self.put(key, HeartbeatReply::Stored { changed });
                "interval"
            }
            BadNews::Rejected(problem) => {
                tracing::debug!(code = %problem.code, "a worker rejected an event");
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
        "News about streams in workers' replies to heartbeats and stops, by kind; missed: this \
         edge was too slow to read them. sum() over edges."
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
    use crate::client::{AccountId, StoppedReason, StreamId, Tenant};

    fn key(account: &str, stream: StreamId) -> StreamKey {
        let account = AccountId::new(account).unwrap();
        StreamKey::new(&Tenant::new("acme").unwrap(), &account, stream)
    }

    #[test]
    fn news_are_kept_for_their_stream_alone() {
        let (cache, stream) = (NewsCache::default(), StreamId::generate());
        let cause = StopCause::from(StoppedReason::Replaced);
        cache.add(key("alice", stream), BadNews::Stopped(cause.clone()));
        let kept = cache.streams.get(key("alice", stream));
        assert_eq!(kept, Some(HeartbeatReply::Stopped(cause)));
        for other in [key("bob", stream), key("alice", StreamId::generate())] {
            assert!(!cache.is_stopped(other));
        }
        cache.streams.remove(key("alice", stream));
        assert!(!cache.is_stopped(key("alice", stream)));
    }

    #[test]
    fn a_changed_interval_sets_the_ttl() {
        let (cache, key) = (NewsCache::default(), key("alice", StreamId::generate()));
        assert_eq!(cache.ttl(), Duration::from_millis(FIRST_TTL_MS));
        let interval = Interval {
            every: Duration::from_secs(10),
            ttl: Duration::from_secs(30),
        };
        let Interval { every, ttl } = interval;
        cache.add(key, BadNews::Interval { every, ttl });
        assert_eq!((cache.ttl(), cache.is_stopped(key)), (ttl, false));
        let changed = Some(interval);
        let kept = cache.streams.get(key);
        assert_eq!(kept, Some(HeartbeatReply::Stored { changed }));
    }

    #[test]
    fn news_expire_with_the_ttl() {
        let (cache, key) = (NewsCache::default(), key("alice", StreamId::generate()));
        cache.set_ttl(Duration::ZERO);
        cache.stopped_because(key, StoppedReason::Stopped.into());
        assert!(!cache.is_stopped(key));
    }
}
