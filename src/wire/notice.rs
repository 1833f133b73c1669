//! Messages for subscribers, which are not replies.

use uuid::Uuid;

/// A message of a worker for one of the exchanges of subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Also the AMQP property `type`.
    pub kind: &'static str,
    /// Its routing key.
    pub routing_key: String,
    /// Its header `account`, if it concerns one.
    pub account: Option<String>,
    /// Equal in all repetitions; `None` if the message is never repeated.
    pub message_id: Option<Uuid>,
    /// The body.
    pub body: Vec<u8>,
}
