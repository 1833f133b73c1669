//! Requests of a backend.

use std::time::Duration;

use uuid::Uuid;

use super::{Client, ClientError, connection::Send};
use crate::{
    domain::{
        AccountId, Activity, Answer, Consistency, Metadata, RefusedReason, StoppedReason, StreamId,
        StreamState, Tenant,
    },
    wire::{self, CountsBy, Kind, Reply},
};

/// Default timeout of a reply.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// A `status` request for an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusQuery {
    /// A stream whose state is returned too.
    pub stream: Option<StreamId>,
    /// Metadata keys to count the streams by: at most 16.
    pub group_by: Vec<String>,
    /// How fresh the answer must be.
    pub consistency: Consistency,
}

/// The activity of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// Its active streams.
    pub activity: Activity,
    /// Counts by the keys of `group_by`.
    pub by: CountsBy,
    /// The state of the stream that was asked about.
    pub state: Option<StreamState>,
}

/// A stream to be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenRequest {
    /// Its id, generated before the first try; a new one if `None`.
    pub stream: Option<StreamId>,
    /// Its metadata.
    pub metadata: Metadata,
    /// The most active streams of the account, this one included; otherwise it is refused.
    pub max_active: Option<u32>,
    /// Streams to stop in the same step: at most 16.
    pub replace: Vec<StreamId>,
    /// Metadata keys to count the account's streams by.
    pub group_by: Vec<String>,
}

/// The decision on an `init`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The stream is active.
    Opened {
        /// How often to send heartbeats.
        heartbeat_every: Duration,
        /// How long it counts without one.
        ttl: Duration,
        /// The account's streams, this one among them.
        activity: Activity,
        /// Counts by the keys of `group_by`.
        by: CountsBy,
    },
    /// It does not.
    Refused {
        /// Why.
        reason: RefusedReason,
        /// The limit that was asked for.
        max_active: Option<u32>,
        /// The account's streams.
        activity: Activity,
    },
}

/// The reply to a heartbeat, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The stream was stopped.
    Stopped(StoppedReason),
    /// The interval of heartbeats or the TTL has changed.
    Interval { every: Duration, ttl: Duration },
}

/// Asks about any account of any tenant that its user may ask about, and opens and ends streams on
/// a viewer's behalf. Many requests can be in flight at once.
///
/// ```no_run
#[doc = include_str!("../../tests/clients/rust/backend.rs")]
/// ```
#[derive(Clone)]
pub struct Backend {
    client: Client,
    patience: Duration,
}

impl Backend {
    /// A backend that waits 2 s for an answer.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self {
            client,
            patience: PATIENCE,
        }
    }

    /// The same, waiting `patience` for an answer.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What is `account` playing?
    ///
    /// # Errors
    /// If no reply arrives in time, or the request is rejected.
    pub async fn status(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        query: &StatusQuery,
    ) -> Result<AccountStatus, ClientError> {
        let body = wire::status_body(
            account.as_str(),
            query.stream,
            &query.group_by,
            query.consistency,
        );
        let send = message(tenant, Kind::Status, account, None, body);
        let mut sent = self.client.send(send, true, self.patience).await?;
        match sent.reply().await? {
            Reply::Answer {
                answer: Answer::Status { activity, stream },
                by,
            } => Ok(AccountStatus {
                activity,
                by,
                state: stream.map(|(_, state)| state),
            }),
            _ => Err(other_reply()),
        }
    }

    /// Opens a stream; a worker decides at one moment of the account's log. Repeated with the same
    /// `stream`, it does not count twice.
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

    /// One try. `id` is the same for every try of one request.
    pub(super) async fn open_once(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
        request: &OpenRequest,
        id: Uuid,
    ) -> Result<Opening, ClientError> {
        let body = wire::init_body(
            account.as_str(),
            stream,
            &request.metadata,
            request.max_active,
            &request.replace,
            &request.group_by,
        );
        let send = message(tenant, Kind::Init, account, Some(id.to_string()), body);
        let mut sent = self.client.send(send, true, self.patience).await?;
        match sent.reply().await? {
            Reply::Answer {
                answer:
                    Answer::Opened {
                        heartbeat_every_ms,
                        ttl_ms,
                        activity,
                        ..
                    },
                by,
            } => Ok(Opening::Opened {
                heartbeat_every: Duration::from_millis(heartbeat_every_ms),
                ttl: Duration::from_millis(ttl_ms),
                activity,
                by,
            }),
            Reply::Answer {
                answer:
                    Answer::Refused {
                        reason,
                        max_active,
                        activity,
                        ..
                    },
                ..
            } => Ok(Opening::Refused {
                reason,
                max_active,
                activity,
            }),
            _ => Err(other_reply()),
        }
    }

    /// Ends a stream. Returns once the broker has the stop: it is not lost any more.
    ///
    /// # Errors
    /// Where the broker does not confirm it in time.
    pub async fn stop(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
    ) -> Result<(), ClientError> {
        let body = wire::stop(account.as_str(), stream);
        let send = message(tenant, Kind::Stop, account, None, body);
        let mut sent = self.client.send(send, false, self.patience).await?;
        sent.confirm().await
    }

    /// Sends one heartbeat, and waits `bad_news` for the news that the stream was ended.
    ///
    /// # Errors
    /// Where the broker does not confirm it in time, or it is not accepted.
    pub async fn heartbeat(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
        metadata: Option<&Metadata>,
        bad_news: Duration,
    ) -> Result<Option<StoppedReason>, ClientError> {
        let sent = self.beat(tenant, account, stream, None, metadata, bad_news);
        Ok(match sent.await? {
            Some(News::Stopped(reason)) => Some(reason),
            Some(News::Interval { .. }) | None => None,
        })
    }

    /// Sends a heartbeat of a player that was last sent the interval `every`, if any.
    pub(super) async fn beat(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
        every: Option<Duration>,
        metadata: Option<&Metadata>,
        news: Duration,
    ) -> Result<Option<News>, ClientError> {
        let every_ms = every.and_then(|every| u64::try_from(every.as_millis()).ok());
        let body = wire::heartbeat(account.as_str(), stream, every_ms, metadata);
        let send = message(tenant, Kind::Heartbeat, account, None, body);
        let mut sent = self.client.send(send, true, self.patience).await?;
        sent.confirm().await?;
        match sent.reply_within(news).await {
            Ok(Reply::Stopped { reason, .. }) => Ok(Some(News::Stopped(reason))),
            Ok(Reply::Interval {
                heartbeat_every_ms,
                ttl_ms,
                ..
            }) => Ok(Some(News::Interval {
                every: Duration::from_millis(heartbeat_every_ms),
                ttl: Duration::from_millis(ttl_ms),
            })),
            Ok(_) => Err(other_reply()),
            Err(ClientError::Refused(problem)) => Err(ClientError::Refused(problem)),
            Err(_) => Ok(None), // no news is good news
        }
    }
}

fn message(
    tenant: &Tenant,
    kind: Kind,
    account: &AccountId,
    message_id: Option<String>,
    body: Vec<u8>,
) -> Send {
    Send {
        tenant: tenant.clone(),
        kind,
        account: account.clone(),
        message_id,
        body,
    }
}

fn other_reply() -> ClientError {
    ClientError::BadReply("it answers something else; is the worker of a later version?".to_owned())
}
