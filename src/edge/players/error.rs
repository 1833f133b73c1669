//! Errors of the operations of players.

use std::time::Duration;

use crate::client::{ClientError, Code, Problem};

/// The time to wait before a repetition if RabbitMQ or every worker is unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The reason why an operation has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PlayersError {
    /// The request is not acceptable. A repetition fails too.
    #[error("{0}")]
    Bad(Problem),
    /// More requests per second than the installation or this edge accepts. Nothing changed.
    #[error("the installation or the edge accepts fewer requests a second")]
    Throttled {
        /// The time to wait before a repetition.
        retry_after: Duration,
    },
    /// RabbitMQ or every worker is unavailable, or too many requests wait. The request may take
    /// effect.
    #[error("{reason}")]
    Unavailable {
        /// The time to wait before a repetition.
        retry_after: Duration,
        /// The cause, for logs. It may contain the address of RabbitMQ.
        reason: String,
    },
    /// RabbitMQ did not confirm the request in time. It may take effect.
    #[error("RabbitMQ did not confirm the request in time; it may take effect")]
    TimedOut,
}

impl PlayersError {
    /// The time to wait before a repetition; `None` if a repetition fails too.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Bad(_) => None,
            Self::Throttled { retry_after } | Self::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::TimedOut => Some(RETRY_AFTER),
        }
    }
}

impl From<ClientError> for PlayersError {
    fn from(error: ClientError) -> Self {
        let retry_after = error.retry_after().unwrap_or(RETRY_AFTER);
        match error {
            ClientError::Refused(problem) if problem.code == Code::Throttled => {
                Self::Throttled { retry_after }
            }
            ClientError::Refused(problem) if !problem.retryable => Self::Bad(problem),
            ClientError::NotTaken(_) => Self::TimedOut,
            error => Self::Unavailable {
                retry_after,
                reason: error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_error_keeps_its_retryability() {
        let throttled = ClientError::Refused(Problem::throttled(250)).into();
        assert!(matches!(
            throttled,
            PlayersError::Throttled { retry_after } if retry_after == Duration::from_millis(250)
        ));
        let old = ClientError::Refused(Problem::old_rules("limits")).into();
        assert!(
            matches!(old, PlayersError::Bad(problem) if problem.field.as_deref() == Some("limits"))
        );
        let waited = Duration::from_secs(2);
        for unavailable in [ClientError::NoAnswer(waited), ClientError::Backlog] {
            let error = PlayersError::from(unavailable);
            assert!(matches!(error, PlayersError::Unavailable { .. }), "{error}");
            assert!(error.retry_after().is_some());
        }
        let error = ClientError::NotTaken(waited).into();
        assert!(matches!(error, PlayersError::TimedOut));
    }
}
