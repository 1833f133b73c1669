//! Errors of the broker, with the remedy in their text.

use std::time::Duration;

use lapin::ErrorKind;

use super::TlsProblem;

/// An error of RabbitMQ, of the network, or of an operation on RabbitMQ.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// The connection could not be established.
    #[error("cannot connect to RabbitMQ at {address}: {reason}")]
    Unreachable {
        /// The address, without the password.
        address: String,
        /// The cause.
        reason: String,
    },
    /// The TLS connection could not be established.
    #[error("cannot connect securely to RabbitMQ at {address}: {problem}")]
    Tls {
        /// The address, without the password.
        address: String,
        /// The cause.
        problem: TlsProblem,
    },
    /// RabbitMQ refuses the user, the virtual host, or the operation.
    #[error("RabbitMQ refuses access ({0}): check the user, its password and its permissions")]
    AccessRefused(String),
    /// RabbitMQ closed the channel to an exchange when a message was published.
    #[error(
        "RabbitMQ closed the channel to {0}: it does not exist, or this user may not publish to it; \
         run `streamwatch topology declare`"
    )]
    CannotPublish(String),
    /// An exchange or a queue does not exist.
    #[error("not found ({0}): declare it with `streamwatch topology declare`")]
    NotFound(String),
    /// A queue exists, but RabbitMQ cannot reach its process, because RabbitMQ is starting or a
    /// node is down; or the node has no running replica of a log, for seconds after another node's
    /// death.
    #[error("temporarily unavailable ({0}): check that all nodes of RabbitMQ run")]
    Unavailable(String),
    /// Another connection owns the queue.
    #[error("owned by another connection ({0})")]
    Locked(String),
    /// An exchange or a queue exists with other properties.
    #[error("precondition failed ({0})")]
    Precondition(String),
    /// A plugin is missing: RabbitMQ does not support a type of exchange.
    #[error(
        "RabbitMQ lacks a plugin ({0}): run `rabbitmq-plugins enable \
         rabbitmq_consistent_hash_exchange` on every node, and try again"
    )]
    NoPlugin(String),
    /// The topology has another number of partitions.
    #[error(
        "the topology has {there} partition(s), not {wanted}; the number cannot be changed: \
         deploy/UPGRADE.md (Change the number of partitions) describes the move to another topology"
    )]
    OtherPartitions {
        /// The number of partitions in the topology.
        there: u16,
        /// The number of partitions requested.
        wanted: u16,
    },
    /// The connection or the channel is closed.
    #[error("the connection to RabbitMQ is lost: {0}")]
    Lost(String),
    /// A consumer was cancelled: its queue was deleted, or the queue's node stopped.
    #[error("the consumer of {0} was cancelled")]
    Cancelled(String),
    /// RabbitMQ did not answer in time.
    #[error("RabbitMQ did not answer within {waited:?} ({doing})")]
    Timeout {
        /// The operation.
        doing: &'static str,
        /// The time waited.
        waited: Duration,
    },
    /// RabbitMQ closed the connection with an internal error over one message: it cannot deliver
    /// the message to an AMQP 0.9.1 consumer, or cannot route it to its address.
    #[error("RabbitMQ closed the connection over a message: {0}")]
    Internal(String),
}

impl BrokerError {
    /// Returns whether a single message closed the connection; others may succeed.
    #[must_use]
    pub const fn is_by_a_message(&self) -> bool {
        matches!(self, Self::Internal(_))
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(amqp) => {
                let text = amqp.get_message().to_string();
                match amqp.get_id() {
                    403 | 530 => Self::AccessRefused(text),
                    404 if text.contains(" - no ") => Self::NotFound(text),
                    404 => Self::Unavailable(text),
                    405 => Self::Locked(text),
                    // The wording of RabbitMQ 4, and of earlier versions.
                    406 | 503 if text.contains("exchange type") => Self::NoPlugin(text),
                    406 if text.contains("running replica") => Self::Unavailable(text),
                    406 => Self::Precondition(text),
                    541 => Self::Internal(text),
                    _ => Self::Lost(text),
                }
            }
            _ => Self::Lost(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPSoftError};

    use super::*;

    fn not_found(text: &str) -> BrokerError {
        let kind = AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND);
        lapin::Error::from(ErrorKind::ProtocolError(AMQPError::new(kind, text.into()))).into()
    }

    #[test]
    fn a_queue_whose_process_is_down_is_unavailable_not_missing() {
        let missing = not_found("NOT_FOUND - no queue 'streamwatch.p00.log' in vhost '/'");
        assert!(matches!(missing, BrokerError::NotFound(_)));
        for text in [
            "NOT_FOUND - home node 'rabbit@a' of durable queue 'streamwatch.p00.log' in vhost '/' \
             is down or inaccessible",
            "NOT_FOUND - queue 'streamwatch.p00.log' in vhost '/' process is stopped by supervisor",
        ] {
            assert!(matches!(not_found(text), BrokerError::Unavailable(_)));
        }
    }
}
