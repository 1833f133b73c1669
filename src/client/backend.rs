//! Requests of backends, and the wire calls of players.

use std::time::Duration;

use uuid::Uuid;

use super::{
    AccountStatus, BadNews, BatchEvent, Client, ClientError, OpenRequest, Opening, StatusQuery,
};
use crate::{
    broker::Outgoing,
    domain::{AccountId, Heartbeat, MetadataPatch, PlayerEvent, Stop, StopCause, StreamId, Tenant},
    wire::{self, BatchWriter, Kind, News, PartitionNumber, Reply, Trace},
};

/// Default timeout of a reply.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// A backend. It requests the activity of accounts, and opens and stops streams for them if the
/// permissions of its user allow it. Any number of requests can be in flight.
///
/// ```no_run
#[doc = include_str!("../../tests/clients/rust/backend.rs")]
/// ```
#[derive(Clone)]
pub struct Backend {
    pub(super) client: Client,
    pub(super) patience: Duration,
    pub(super) gzip: bool,
    trace: Option<Box<Trace>>,
}

impl Backend {
    /// Creates a backend that waits up to 2 s for a reply.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self {
            client,
            patience: PATIENCE,
            gzip: false,
            trace: None,
        }
    }

    /// Sets the longest wait for a reply or a confirm.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Compresses batches of at least 1 KiB. Logs then take a third of the disk space, and this
    /// process about a microsecond more per event.
    #[must_use]
    pub const fn with_gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// Continues a trace in the `open` and `status` requests of this handle.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<Trace>) -> Self {
        self.trace = trace.map(Box::new);
        self
    }

    /// Returns the activity of `account`.
    ///
    /// # Errors
    /// If no reply arrives in time, or the request is rejected.
    pub async fn status(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        query: &StatusQuery,
    ) -> Result<AccountStatus, ClientError> {
        let body = wire::status_body(account.as_str(), query);
        let mut send = Outgoing::new(tenant, Kind::Status, Some(account), body);
        send.trace.clone_from(&self.trace);
        let mut sent = self.client.send(send, true, self.patience).await?;
        match sent.reply().await? {
            Reply::Status(status) => Ok(status),
            _ => Err(other_reply()),
        }
    }

    /// Opens a stream. A worker decides atomically, at one entry of the account's log. A repetition
    /// with the same `stream` does not count twice.
    ///
    /// # Errors
    /// If no reply arrives in time. The stream may become active; repeat the request.
    pub async fn open(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        request: &OpenRequest,
    ) -> Result<(StreamId, Opening), ClientError> {
        let stream = request.stream.unwrap_or_else(StreamId::generate);
        let id = Uuid::new_v4();
        let opening = self.open_once(tenant, account, stream, request, id).await?;
        Ok((stream, opening))
    }

    /// Sends the request once. `id` is the same for all attempts of one request.
    pub(super) async fn open_once(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
        request: &OpenRequest,
        id: Uuid,
    ) -> Result<Opening, ClientError> {
        let body = wire::init_body(account.as_str(), stream, request);
        let mut send = Outgoing::new(tenant, Kind::Init, Some(account), body);
        send.message_id = Some(id.to_string());
        send.trace.clone_from(&self.trace);
        let mut sent = self.client.send(send, true, self.patience).await?;
        match sent.reply().await? {
            Reply::Opening(opening) => Ok(opening),
            _ => Err(other_reply()),
        }
    }

    /// Stops a stream. Returns once the broker has stored the stop.
    ///
    /// # Errors
    /// If the broker does not confirm the stop in time.
    pub async fn stop(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
    ) -> Result<(), ClientError> {
        let body = wire::event_body(account.as_str(), &Stop::of(stream).into());
        let send = Outgoing::new(tenant, Kind::Stop, Some(account), body);
        let mut sent = self.client.send(send, false, self.patience).await?;
        sent.confirm().await
    }

    /// Stops one or all streams of an account, with a reason for their players. Waits `wait` for an
    /// error reply, such as that of an installation whose rules have no stop of all streams.
    ///
    /// # Errors
    /// If the broker does not confirm the stop in time, or a worker rejects it or its reason. A
    /// stop with a rejected reason still takes effect.
    pub async fn send_stop(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stop: Stop,
        wait: Duration,
    ) -> Result<(), ClientError> {
        let body = wire::event_body(account.as_str(), &stop.into());
        let send = Outgoing::new(tenant, Kind::Stop, Some(account), body);
        // Workers reply only with an error.
        self.send_event(send, wait).await.map(drop)
    }

    /// Sends one heartbeat, and waits `wait` for a reply. Returns the cause if the stream was
    /// stopped; `None` if no reply arrives, or only a changed interval.
    ///
    /// # Errors
    /// If the broker does not confirm the heartbeat in time, or a worker rejects it or its
    /// metadata. A heartbeat with rejected metadata still counts.
    pub async fn heartbeat(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
        metadata: Option<MetadataPatch>,
        wait: Duration,
    ) -> Result<Option<StopCause>, ClientError> {
        let heartbeat = Heartbeat {
            metadata,
            ..Heartbeat::of(stream)
        };
        let sent = self.send_heartbeat(tenant, account, heartbeat, wait);
        Ok(match sent.await? {
            Some(BadNews::Stopped(cause)) => Some(cause),
            _ => None,
        })
    }

    /// Publishes up to 1,000 heartbeats and stops of accounts of one partition in one message, and
    /// waits `wait` for the bad news, with the position of each event. Each reply to a `status` or
    /// an `init` contains the partition of its account.
    ///
    /// # Errors
    /// If the broker does not confirm the batch in time, or a worker rejects it as a whole. The
    /// code `wrong_partition` means that the stated partition of these accounts is outdated.
    pub async fn batch(
        &self,
        tenant: &Tenant,
        partition: PartitionNumber,
        events: &[BatchEvent],
        wait: Duration,
    ) -> Result<Vec<(usize, BadNews)>, ClientError> {
        let Some(first) = events.first() else {
            return Ok(Vec::new());
        };
        let mut batch = BatchWriter::default();
        for event in events {
            batch.push(event.account.as_str(), &event.event);
        }
        let body = batch.body(partition);
        let mut send = Outgoing::new(tenant, Kind::Batch, Some(&first.account), body);
        if self.gzip {
            send = send.compressed();
        }
        match self.send_event(send, wait).await? {
            None => Ok(Vec::new()),
            Some(Reply::Batch { events, .. }) => {
                let news = events.into_iter();
                Ok(news
                    .filter_map(|one| Some((usize::from(one.index), bad_news(one.news)?)))
                    .collect())
            }
            Some(_) => Err(other_reply()),
        }
    }

    pub(super) async fn send_heartbeat(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        heartbeat: Heartbeat,
        wait: Duration,
    ) -> Result<Option<BadNews>, ClientError> {
        let body = wire::event_body(account.as_str(), &PlayerEvent::Heartbeat(heartbeat));
        let send = Outgoing::new(tenant, Kind::Heartbeat, Some(account), body);
        match self.send_event(send, wait).await? {
            None => Ok(None),
            Some(Reply::News(news)) => bad_news(news).map(Some).ok_or_else(other_reply),
            Some(_) => Err(other_reply()),
        }
    }

    /// Sends a message until the broker confirms it, and waits `wait` for a reply. Most get none, as
    /// workers reply only with bad news.
    async fn send_event(
        &self,
        send: Outgoing,
        wait: Duration,
    ) -> Result<Option<Reply>, ClientError> {
        let mut sent = self.client.send(send, true, self.patience).await?;
        sent.confirm().await?;
        match sent.reply_within(wait).await {
            Ok(reply) => Ok(Some(reply)),
            Err(ClientError::Refused(problem)) => Err(ClientError::Refused(problem)),
            Err(_) => Ok(None),
        }
    }
}

/// The news about an event; `None` if a later version of the contract defines it.
pub(super) fn bad_news(news: News) -> Option<BadNews> {
    match news {
        News::Stopped { cause, .. } => Some(BadNews::Stopped(cause)),
        News::Interval {
            heartbeat_every_ms,
            ttl_ms,
            ..
        } => Some(BadNews::Interval {
            every: Duration::from_millis(heartbeat_every_ms),
            ttl: Duration::from_millis(ttl_ms),
        }),
        News::Error { error } => Some(BadNews::Rejected(error)),
        News::Unknown => None,
    }
}

pub(super) fn other_reply() -> ClientError {
    ClientError::BadReply(
        "the kind of the reply does not match the request; the worker may be newer".to_owned(),
    )
}
