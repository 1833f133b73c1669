//! Reasons that a message gets no reply.

use crate::wire::Problem;

/// The reason a message gets no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// The message requests no reply.
    NotAsked,
    /// `reply_to` names one of streamwatch's own queues, where the reply would be read as an entry
    /// or a request; or it is a direct reply-to that RabbitMQ did not generate, or names no queue.
    Refused,
    /// The response topic is not under the message's own topic: other devices may subscribe to it,
    /// or the reply may be read as an event.
    RefusedTopic,
    /// The correlation id, or the message id in its place, is longer than 1,024 bytes.
    RefusedCorrelation,
}

impl NoReply {
    /// The problem to report, if the reply address is invalid.
    #[must_use]
    pub fn problem(self) -> Option<Problem> {
        match self {
            Self::NotAsked => None,
            Self::Refused => Some(Problem::reply_to()),
            Self::RefusedTopic => Some(Problem::response_topic()),
            Self::RefusedCorrelation => Some(Problem::correlation_id()),
        }
    }
}
