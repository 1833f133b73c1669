//! Errors of the client, each with a remedy.

use std::time::Duration;

use crate::{broker::BrokerError, wire::Problem};

/// The reason a message was not confirmed, or a request got no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// RabbitMQ cannot be reached, or refuses the user.
    #[error("{0}")]
    Broker(BrokerError),
    /// The exchange does not exist, or no queue is bound to it.
    #[error(
        "the exchange does not exist, or no queue is bound to it: run `streamwatch topology declare`"
    )]
    NoTopology,
    /// The request is in its queue, but no worker has replied.
    #[error("no worker replied within {0:?}: check that one runs")]
    NoAnswer(Duration),
    /// The message was handed to RabbitMQ, which did not confirm it in time. It may take effect.
    #[error(
        "RabbitMQ did not confirm the message in {0:?}, and may still store it: check its alarms, \
         and that a majority of its nodes runs, then repeat the request"
    )]
    NotTaken(Duration),
    /// RabbitMQ has raised an alarm and accepts no messages. The message was not sent, and is not
    /// sent later.
    #[error(
        "RabbitMQ accepts no messages (memory or disk alarm); not sent within {0:?}: free memory \
         or disk on its nodes, then repeat the request"
    )]
    Blocked(Duration),
    /// The messages before this one have no confirm. This one was not sent, and is not sent later.
    #[error(
        "RabbitMQ does not confirm earlier messages; not sent within {0:?}: check that a majority \
         of its nodes runs, then repeat the request"
    )]
    NotSent(Duration),
    /// Too many messages of this client wait to be sent. The message was not sent.
    #[error("this client has 16 MiB of messages waiting for RabbitMQ: send less, or repeat later")]
    Backlog,
    /// A queue is full. The message was not stored.
    #[error("a queue in RabbitMQ is full: start more workers, or repeat the request later")]
    Busy,
    /// The worker rejected the request.
    #[error("{0}")]
    Refused(Problem),
    /// The reply does not match the request.
    #[error("cannot decode the reply: {0}")]
    BadReply(String),
}

impl ClientError {
    /// The time to wait before a repetition of the request, if a worker has stated one.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(Problem {
                retry_after_ms: Some(ms),
                ..
            }) => Some(Duration::from_millis(*ms)),
            _ => None,
        }
    }

    /// Returns whether a repetition of the request, with the same stream id, can succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Broker(_)
            | Self::NoTopology
            | Self::NoAnswer(_)
            | Self::NotTaken(_)
            | Self::Blocked(_)
            | Self::NotSent(_)
            | Self::Backlog
            | Self::Busy => true,
            Self::Refused(problem) => problem.retryable,
            Self::BadReply(_) => false,
        }
    }
}
