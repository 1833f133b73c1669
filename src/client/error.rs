//! Why a client got no answer, in words that say what to do.

use std::time::Duration;

use crate::{broker::BrokerError, wire::Problem};

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// RabbitMQ cannot be reached, or refuses the user.
    #[error("{0}")]
    Broker(BrokerError),
    /// The exchange is not there, or no queue is bound to it.
    #[error("there is no topology here: run `streamwatch topology declare`")]
    NoTopology,
    /// The request is in its queue and nobody answered.
    #[error("no worker answered in {0:?}: is one running?")]
    NoAnswer(Duration),
    /// The broker did not take the message in time: it may be blocked by an alarm.
    #[error("RabbitMQ did not take the message in {0:?}: is it blocked by an alarm?")]
    NotTaken(Duration),
    /// The queue is full, or this client has too much under way already.
    #[error("too much is waiting; try again later")]
    Busy,
    /// The worker says what is wrong with the request.
    #[error("{0}")]
    Refused(Problem),
    /// The reply is not one to this request.
    #[error("the reply cannot be read: {0}")]
    BadReply(String),
}

impl ClientError {
    /// Repeating the same request, with the same stream id, may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Broker(_)
            | Self::NoTopology
            | Self::NoAnswer(_)
            | Self::NotTaken(_)
            | Self::Busy => true,
            Self::Refused(problem) => problem.retryable,
            Self::BadReply(_) => false,
        }
    }
}
