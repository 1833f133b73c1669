//! The operations of players, without HTTP.

mod error;

use std::time::Duration;

pub use error::PlayersError;

use crate::client::{
    AccountId, AccountStatus, Client, GivenReason, Heartbeat, OpenRequest, Opening, StatusQuery,
    StopCause, StreamId, Tenant,
};

/// The operations of players and of backends without AMQP. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Players {}

/// An interval of heartbeats and a TTL that a player does not use yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The interval of heartbeats.
    pub every: Duration,
    /// The time after which the stream expires without a heartbeat.
    pub ttl: Duration,
}

/// The outcome of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatOutcome {
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
    /// Creates the operations of one connection to RabbitMQ, which wait `patience` for a reply or a
    /// confirm.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    #[must_use]
    pub fn new(client: Client, patience: Duration) -> Self {
        let _ = (client, patience);
        Self {}
    }

    /// Opens a stream, and returns its id and the decision. A repetition with the same id does not
    /// count twice.
    ///
    /// # Errors
    /// [`PlayersError`]. The stream may be active after [`PlayersError::Unavailable`] and
    /// [`PlayersError::TimedOut`].
    pub async fn open(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        request: &OpenRequest,
    ) -> Result<(StreamId, Opening), PlayersError> {
        let _ = (tenant, account, request);
        Err(PlayersError::TimedOut)
    }

    /// Sends a heartbeat. Returns once RabbitMQ has stored it, or with the end of the stream.
    ///
    /// # Errors
    /// [`PlayersError`].
    pub async fn heartbeat(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        heartbeat: Heartbeat,
    ) -> Result<HeartbeatOutcome, PlayersError> {
        let _ = (tenant, account, heartbeat);
        Err(PlayersError::TimedOut)
    }

    /// Stops a stream. Returns once RabbitMQ has stored the stop.
    ///
    /// # Errors
    /// [`PlayersError`].
    pub async fn stop(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
        reason: Option<GivenReason>,
    ) -> Result<(), PlayersError> {
        let _ = (tenant, account, stream, reason);
        Err(PlayersError::TimedOut)
    }

    /// Stops all active streams of an account. Returns once RabbitMQ has stored the stop.
    ///
    /// # Errors
    /// [`PlayersError`].
    pub async fn stop_all(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        reason: Option<GivenReason>,
    ) -> Result<(), PlayersError> {
        let _ = (tenant, account, reason);
        Err(PlayersError::TimedOut)
    }

    /// Returns the activity of an account, and the state of one stream if `query` names it.
    ///
    /// # Errors
    /// [`PlayersError`].
    pub async fn activity(
        &self,
        tenant: &Tenant,
        account: &AccountId,
        query: &StatusQuery,
    ) -> Result<AccountStatus, PlayersError> {
        let _ = (tenant, account, query);
        Err(PlayersError::TimedOut)
    }
}
