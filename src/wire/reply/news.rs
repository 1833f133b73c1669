//! News for the senders of heartbeats and stops. Most of these events get none.

use serde::{Deserialize, Serialize};

use super::encode::Encoded;
use crate::{
    domain::{StopCause, StreamId},
    wire::{Problem, request::bytes},
};

/// Bad news about one event of a batch: the reply that its sender would get if it were a message of
/// its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventNews {
    /// The position of the event in the batch.
    pub index: u16,
    /// The news.
    #[serde(flatten)]
    pub news: News,
}

/// Bad news about a heartbeat or a stop, or about any other message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum News {
    /// The stream has been stopped.
    Stopped {
        /// The stream.
        stream: StreamId,
        /// The cause.
        #[serde(flatten)]
        cause: StopCause,
    },
    /// The player does not use the interval or the TTL in force.
    Interval {
        /// The stream.
        stream: StreamId,
        /// The interval of heartbeats.
        heartbeat_every_ms: u64,
        /// The time after the last heartbeat until the stream expires.
        ttl_ms: u64,
    },
    /// The message was not accepted, or its outcome is unknown.
    Error {
        /// The reason.
        error: Problem,
    },
    /// A type of a later version of the contract; never sent.
    #[serde(other)]
    Unknown,
}

impl News {
    /// Encodes the reply to a message of its own.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let kind = match self {
            Self::Stopped { .. } => "stopped",
            Self::Interval { .. } => "interval",
            Self::Error { .. } => "error",
            Self::Unknown => "unknown",
        };
        let body = bytes(self);
        Encoded { kind, body }
    }
}
