//! The reasons that a connection to RabbitMQ failed.

use std::time::Duration;

use super::{BrokerError, TlsProblem};

pub(super) enum ConnectFailure {
    /// The broker did not answer within this time.
    Slow(Duration),
    Tls(TlsProblem),
    Lapin(lapin::Error),
}

impl From<TlsProblem> for ConnectFailure {
    fn from(problem: TlsProblem) -> Self {
        Self::Tls(problem)
    }
}

impl ConnectFailure {
    pub(super) fn at(self, address: String) -> BrokerError {
        let reason = match self {
            Self::Slow(waited) => format!("no answer within {waited:?}"),
            Self::Tls(problem) => return BrokerError::Tls { address, problem },
            Self::Lapin(error) => match BrokerError::from(error) {
                refused @ BrokerError::AccessRefused(_) => return refused,
                // RabbitMQ closes the socket on a wrong password if the client lacks a capability.
                BrokerError::Lost(reason) => reason,
                other => other.to_string(),
            },
        };
        BrokerError::Unreachable { address, reason }
    }
}
