//! The batcher: it sends the heartbeats and stops of many players in few messages.

mod accounts;
mod awaited;
mod bucket;
mod engine;
mod events;
mod gather;
mod news;
mod repeated;
mod ring;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};

use super::{AccountStatus, Backend, ClientError, OpenRequest, Opening, StatusQuery};
use crate::{
    broker::BrokerError,
    domain::{AccountId, Heartbeat, Metadata, PlayerEvent, Stop, StreamId, Tenant},
    wire::PartitionNumber,
};
use engine::{Engine, locked};
use gather::Gatherer;
pub use news::{NewsReader, StreamNews};

/// Longest time for which a batch gathers events.
const GATHER_FOR: Duration = Duration::from_millis(100);
/// Largest number of events in a batch.
const MOST_EVENTS: usize = 500;
/// Default bound of the accounts with a known partition.
const MOST_ACCOUNTS: usize = 1_000_000;
/// Most news that wait for a reader.
const MOST_NEWS: usize = 8_192;

/// A sender of the heartbeats and stops of many players, such as an edge service.
///
/// RabbitMQ's cost is per message, so a batcher gathers the events of one tenant and one partition
/// for up to 100 ms, 500 events or 128 KiB, and publishes them in one message. Clones are cheap and
/// share everything; after the last one is dropped, nothing more is sent. Create one batcher per
/// [`Client`](super::Client), which holds a bounded number of messages without a reply.
///
/// **Partitions.** The batcher learns partitions from the replies to [`open`](Self::open) and
/// [`status`](Self::status), or by [`learn`](Self::learn). The events of an account without a known
/// partition are sent in a message of their own, to which no reply states the partition.
///
/// With one partition, one reply suffices. With several, the batcher computes the bucket of an
/// account as RabbitMQ 3.13 and later do. Once 24 replies about each bucket agree, the partition of
/// every account is known, without memory for accounts. That takes about 110 replies with four
/// partitions, and 2,400 with 64. If a later reply states another partition or another number of
/// partitions, or a worker rejects a batch, the batcher learns again. All accounts of a batch are then in one bucket, which also routes
/// the batch. So partitions that are outdated are always rejected, and never counted wrong.
///
/// Until then, the batcher remembers the partitions of up to 1,000,000 accounts, about 100 MB; see
/// [`with_accounts`](Self::with_accounts). If the replies contradict the computed buckets, it logs a
/// warning, and does so until the number of partitions changes. If a remembered partition of only
/// some accounts of a batch is outdated, these can be counted wrong.
///
/// If the partition of a batch proves to be wrong, nothing of the batch has taken effect. The batcher
/// then forgets the partitions of its accounts, and sends the events again, each alone, for up to
/// 30 s.
///
/// **Order.** The events of an account take effect in the order of calls. A stop never takes effect
/// before an earlier heartbeat of its stream. An event that is sent again can follow later ones, but
/// not a stop of its stream: it is dropped then, since it would change nothing.
///
/// **News.** A confirm means that the log has stored the event. Replies arrive later:
/// [`news`](Self::news) returns the streams that were stopped, whose interval has changed, or whose
/// events were rejected. A reply can be lost; each later heartbeat of the stream gets another one.
/// The batcher waits for the replies to the last 5,000 messages, or 64 MiB, for 30 s. It does not
/// notice a wrong partition whose reply is lost.
///
/// ```no_run
#[doc = include_str!("../../tests/clients/rust/edge.rs")]
/// ```
#[derive(Clone)]
pub struct Batcher {
    backend: Backend,
    gatherer: Arc<Mutex<Gatherer>>,
    /// Wakes the background task, which ends once all senders are dropped.
    wake: mpsc::Sender<()>,
    news: broadcast::Sender<StreamNews>,
}

impl Batcher {
    /// Creates a batcher that uses the connection and the patience of `backend`, and compresses
    /// batches if `backend` does ([`Backend::with_gzip`]).
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self::with_accounts(backend, MOST_ACCOUNTS)
    }

    /// Creates a batcher that remembers the partitions of at most `accounts` accounts until the
    /// partition of every account is known. The most recently used half is always kept. With 0, the
    /// batcher learns no partitions, and sends every event alone.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    #[must_use]
    pub fn with_accounts(backend: Backend, accounts: usize) -> Self {
        let gatherer = Arc::new(Mutex::new(Gatherer::new(accounts, backend.patience)));
        let (wake, woken) = mpsc::channel(1);
        let news = broadcast::Sender::new(MOST_NEWS);
        let engine = Engine::new(Arc::clone(&gatherer), backend.clone(), news.clone());
        tokio::spawn(engine.run(woken));
        Self {
            backend,
            gatherer,
            wake,
            news,
        }
    }

    /// Sends a heartbeat. `every` is the interval that the player was last sent; without it, a
    /// changed interval is not reported. Returns once the broker has confirmed the message with the
    /// heartbeat.
    ///
    /// If the future is dropped, the heartbeat may still be sent.
    ///
    /// # Errors
    /// If the broker does not confirm the message in time. The heartbeat may take effect only if
    /// the error is [`ClientError::NotTaken`] or [`ClientError::Broker`].
    /// [`ClientError::Backlog`] immediately if 16 MiB of events wait.
    pub async fn heartbeat(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
        every: Option<Duration>,
        metadata: Option<&Metadata>,
    ) -> Result<(), ClientError> {
        let every_ms = every.and_then(|every| u32::try_from(every.as_millis()).ok());
        let heartbeat = Heartbeat {
            stream,
            every_ms: every_ms.filter(|every| *every > 0),
            metadata: metadata.cloned().map(Into::into),
        };
        self.send(tenant, account, &heartbeat.into()).await
    }

    /// Sends a stop. Returns once the broker has confirmed the message with the stop.
    ///
    /// If the future is dropped, the stop may still be sent.
    ///
    /// # Errors
    /// As [`Self::heartbeat`].
    pub async fn stop(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
    ) -> Result<(), ClientError> {
        self.send(tenant, account, &Stop::of(stream).into()).await
    }

    /// Sends a heartbeat or a stop with any of their fields. For a stop of all streams of an
    /// account, use [`Backend::send_stop`]: a retry from here could follow later events.
    ///
    /// If the future is dropped, the event may still be sent.
    ///
    /// # Errors
    /// As [`Self::heartbeat`].
    pub async fn send(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        event: &PlayerEvent,
    ) -> Result<(), ClientError> {
        let added = locked(&self.gatherer).add(tenant, account, event, Instant::now());
        let (mut confirm, wakes) = added?;
        if wakes {
            self.wake();
        }
        match confirm.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // The task has panicked.
            Ok(None) | Err(_) => {
                let ended = "the task of the batcher has ended".to_owned();
                Err(ClientError::Broker(BrokerError::Lost(ended)))
            }
        }
    }

    /// Wakes the background task, unless it is about to wake.
    fn wake(&self) {
        let _ = self.wake.try_send(());
    }

    /// Opens a stream as [`Backend::open`] does, and learns the partition of the account.
    ///
    /// # Errors
    /// As [`Backend::open`].
    pub async fn open(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        request: &OpenRequest,
    ) -> Result<(StreamId, Opening), ClientError> {
        let opened = self.backend.open(tenant, account, request).await?;
        let (Opening::Opened { partition, .. } | Opening::Refused { partition, .. }) = &opened.1;
        if let Some(partition) = *partition {
            self.learn(tenant, account, partition);
        }
        Ok(opened)
    }

    /// Returns the activity of `account` as [`Backend::status`] does, and learns the partition of
    /// the account.
    ///
    /// # Errors
    /// As [`Backend::status`].
    pub async fn status(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        query: &StatusQuery,
    ) -> Result<AccountStatus, ClientError> {
        let status = self.backend.status(tenant, account, query).await?;
        if let Some(partition) = status.partition {
            self.learn(tenant, account, partition);
        }
        Ok(status)
    }

    /// Learns the partition of an account, as a reply states it. Partitions of another source lead to
    /// wrong counts.
    pub fn learn(&self, tenant: &Tenant, account: &AccountId, partition: PartitionNumber) {
        if locked(&self.gatherer).learn(tenant, account, partition) {
            self.wake();
        }
    }

    /// Returns whether the partition of an account is known. The events of others are sent alone, at
    /// a higher cost for RabbitMQ.
    #[must_use]
    pub fn has_partition(&self, tenant: &Tenant, account: &AccountId) -> bool {
        locked(&self.gatherer).accounts.has(tenant, account)
    }

    /// The memory of the events that wait to be sent, in bytes: at most 16 MiB.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        locked(&self.gatherer).bytes
    }

    /// Returns a reader of the news from now on. Any number of readers gets all news.
    #[must_use]
    pub fn news(&self) -> NewsReader {
        NewsReader::new(self.news.subscribe())
    }
}
