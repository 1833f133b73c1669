//! The operations of players, without HTTP.

mod news;
mod recent;
mod signs;
mod stream_key;

use std::{sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;

pub use stream_key::StreamKey;

use crate::client::{
    AccountId, AccountStatus, Backend, Batcher, Client, ClientError, Consistency, Heartbeat,
    OpenRequest, Opening, StatusQuery, Stop, StopCause, StopTarget, StoppedReason, StreamId,
    StreamState, Tenant,
};
use crate::wire::Trace;
use news::NewsCache;
use signs::SignsOfLife;

tokio::task_local! {
    /// The trace of the HTTP request that a task handles.
    pub(super) static TRACE: Option<Trace>;
}

/// Longest wait for the state of a stream. After it, the heartbeat is sent unchecked.
const CHECK_PATIENCE: Duration = Duration::from_millis(500);
/// The time to wait before a repetition if RabbitMQ or every worker is unavailable.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The operations of players and of backends without AMQP. Clones are cheap and share everything.
///
/// **The end of a stream.** A worker replies to the heartbeat of an ended stream after RabbitMQ has
/// confirmed it. The reply is kept for a TTL, and the stream's next heartbeat returns it. Workers
/// repeat it for each heartbeat, so that every edge learns it from the heartbeats that it sends.
///
/// **Expiry.** Over AMQP, a heartbeat revives an expired stream; over HTTP, it does not. Before the
/// first heartbeat of a stream, and before the first one after a pause as long as the TTL, the edge
/// requests the stream's state. It sends at most 2,000 such requests per second, and at most 100 at
/// a time: a restart of the edge does not flood the workers. A heartbeat beyond these bounds, or
/// without a reply to its request, is sent unchecked.
#[derive(Clone)]
pub struct Players {
    backend: Backend,
    batcher: Batcher,
    news: Arc<NewsCache>,
    signs: Arc<SignsOfLife>,
}

/// An interval of heartbeats and a TTL that a player does not use yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The interval of heartbeats.
    pub every: Duration,
    /// The time after which the stream expires without a heartbeat.
    pub ttl: Duration,
}

/// The meaning of a heartbeat of an unknown stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownStream {
    /// The stream begins: its player has created the id.
    Begins,
    /// The stream expired long ago: an edge has created the id.
    HasExpired,
}

/// The edge's reply to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatReply {
    /// RabbitMQ has stored it.
    Stored {
        /// The interval and the TTL in force, if an earlier heartbeat of the stream stated another
        /// interval.
        changed: Option<Interval>,
    },
    /// The stream was stopped or replaced, or it is too old. Its player stops.
    Stopped(StopCause),
    /// The stream has expired. Its player opens a new one.
    Expired,
}

impl Players {
    /// Creates the operations on one connection to RabbitMQ. Each waits `patience` for a reply or a
    /// confirm.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    pub fn new(client: Client, patience: Duration) -> Self {
        let backend = Backend::new(client).with_patience(patience);
        let batcher = Batcher::new(backend.clone());
        let news = Arc::new(NewsCache::default());
        // The task ends with the last handle of the batcher.
        tokio::spawn(news::keep(batcher.news(), Arc::clone(&news)));
        Self {
            backend,
            batcher,
            news,
            signs: Arc::new(SignsOfLife::default()),
        }
    }

    /// Opens a stream, and returns its id and the decision. A repetition with the same id does not
    /// count twice.
    ///
    /// # Errors
    /// [`ClientError`]. The stream may be active if it is retryable.
    pub async fn open(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        request: &OpenRequest,
    ) -> Result<(StreamId, Opening), ClientError> {
        let (stream, opening) = self.traced().open(tenant, account, request).await?;
        let (Opening::Opened { partition, .. } | Opening::Refused { partition, .. }) = &opening;
        if let Some(partition) = partition {
            self.batcher.learn(tenant, account, *partition);
        }
        if let Opening::Opened { ttl, .. } = &opening {
            let key = StreamKey::new(tenant, account, stream);
            self.news.set_ttl(*ttl);
            self.news.streams.remove(key);
            self.signs.streams.put(key, (), *ttl);
        }
        Ok((stream, opening))
    }

    /// Sends a heartbeat. Returns once RabbitMQ has stored it, or with the end of the stream.
    pub async fn heartbeat(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        heartbeat: Heartbeat,
        unknown: UnknownStream,
    ) -> Result<HeartbeatReply, ClientError> {
        let stream = heartbeat.stream;
        let key = StreamKey::new(tenant, account, stream);
        let is_ended = self.news.is_stopped(key);
        // The reply also states the partition. Without it, a heartbeat costs a message of its own.
        let is_known =
            self.signs.streams.get(key).is_some() && self.batcher.has_partition(tenant, account);
        if !is_ended
            && !is_known
            && let Some(permit) = self.signs.check()
        {
            let permit = Arc::new(permit);
            let state = async |consistency| {
                let query = StatusQuery {
                    stream: Some(stream),
                    group_by: Vec::new(),
                    consistency,
                };
                self.state(tenant, account, query, &permit).await
            };
            let mut seen = state(Consistency::Local).await;
            if seen == Some(StreamState::Unknown) && unknown == UnknownStream::HasExpired {
                // This replica can lag behind the replica that answered the `init`.
                seen = state(Consistency::Strong).await;
                if seen == Some(StreamState::Unknown) {
                    seen = Some(StreamState::Expired);
                }
            }
            match seen {
                Some(StreamState::Expired) => return Ok(HeartbeatReply::Expired),
                // The heartbeat is still sent: it renews the tombstone, and its reply has the cause.
                Some(StreamState::Stopped) => {
                    self.news
                        .stopped_because(key, StoppedReason::Stopped.into());
                }
                _ => {}
            }
        }
        // The heartbeat of an ended stream renews its tombstone, so that the stream stays stopped.
        let sent = self.batcher.send(tenant, account, &heartbeat.into()).await;
        let news = self.news.streams.get(key);
        if let Some(ended @ HeartbeatReply::Stopped(_)) = news {
            return Ok(ended);
        }
        sent?;
        self.signs.streams.put(key, (), self.news.ttl());
        let Some(changed) = news else {
            return Ok(HeartbeatReply::Stored { changed: None });
        };
        self.news.streams.remove(key);
        Ok(changed)
    }

    /// Returns the state of a stream; `None` if no worker answers within [`CHECK_PATIENCE`].
    async fn state(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        query: StatusQuery,
        permit: &Arc<OwnedSemaphorePermit>,
    ) -> Option<StreamState> {
        let (batcher, tenant, account) = (self.batcher.clone(), tenant.clone(), account.clone());
        let permit = Arc::clone(permit);
        // A task, since a late reply still states the partition of the account.
        let status = tokio::spawn(async move {
            let status = batcher.status(&tenant, &account, &query).await;
            drop(permit);
            status
        });
        let status = tokio::time::timeout(CHECK_PATIENCE, status).await;
        status.ok()?.ok()?.ok()?.state
    }

    /// Stops a stream. Returns once RabbitMQ has stored the stop.
    pub async fn stop(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
    ) -> Result<(), ClientError> {
        let stop = Stop {
            target: StopTarget::One(stream),
            reason: None,
        };
        self.batcher.send(tenant, account, &stop.into()).await?;
        let key = StreamKey::new(tenant, account, stream);
        self.news
            .stopped_because(key, StoppedReason::Stopped.into());
        Ok(())
    }

    /// Returns the activity of an account, and the state of one stream if `query` names it.
    pub async fn activity(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        query: &StatusQuery,
    ) -> Result<AccountStatus, ClientError> {
        let status = self.traced().status(tenant, account, query).await?;
        if let Some(partition) = status.partition {
            self.batcher.learn(tenant, account, partition);
        }
        Ok(status)
    }

    /// The backend, which continues the trace of the HTTP request.
    fn traced(&self) -> Backend {
        let trace = TRACE.try_with(Clone::clone).unwrap_or_default();
        self.backend.clone().with_trace(trace)
    }

    /// Memory of the events that wait for RabbitMQ, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.batcher.waiting_bytes()
    }

    /// The numbers of streams whose news are kept, and of those with a recent sign of life.
    pub(super) fn cached_streams(&self) -> (usize, usize) {
        (self.news.streams.len(), self.signs.streams.len())
    }
}
