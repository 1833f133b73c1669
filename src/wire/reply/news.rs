//! News for the senders of heartbeats and stops. Most of these events get none.

use serde::Serialize;
use uuid::Uuid;

use super::encode::Encoded;
use crate::{
    domain::{StopCause, StreamId},
    wire::Problem,
};

/// Bad news about one event of a batch: the reply that its sender would get if it were a message of
/// its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventNews {
    /// The position of the event in the batch.
    pub index: u16,
    /// The news.
    #[serde(flatten)]
    pub news: News,
}

/// Bad news about a heartbeat or a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum News {
    /// The stream has been stopped.
    Stopped {
        /// The stream.
        stream: Uuid,
        /// The reason.
        reason: &'static str,
        /// The reason in the `stop`, or in the `init` that replaced the stream.
        #[serde(skip_serializing_if = "Option::is_none")]
        given_reason: Option<String>,
    },
    /// The player does not use the interval or the TTL in force.
    Interval {
        /// The stream.
        stream: Uuid,
        /// The interval of heartbeats.
        heartbeat_every_ms: u64,
        /// The time after the last heartbeat until the stream expires.
        ttl_ms: u64,
    },
    /// The event was rejected.
    Error {
        /// The reason.
        error: Problem,
    },
}

impl News {
    /// The stream has been stopped.
    #[must_use]
    pub fn stopped(stream: StreamId, cause: &StopCause) -> Self {
        Self::Stopped {
            stream: stream.0,
            reason: cause.reason.as_str(),
            given_reason: cause.given.as_ref().map(|given| given.as_str().to_owned()),
        }
    }

    /// The player does not use the interval or the TTL in force.
    #[must_use]
    pub const fn interval(stream: StreamId, heartbeat_every_ms: u64, ttl_ms: u64) -> Self {
        Self::Interval {
            stream: stream.0,
            heartbeat_every_ms,
            ttl_ms,
        }
    }

    /// Encodes the reply to a message of its own.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let kind = match self {
            Self::Stopped { .. } => "stopped",
            Self::Interval { .. } => "interval",
            Self::Error { .. } => "error",
        };
        Encoded {
            kind,
            body: serde_json::to_vec(self).expect("strings and numbers always encode"),
        }
    }
}
