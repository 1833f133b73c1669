//! Messages to whoever listens: nobody asked for them and nobody answers.

use uuid::Uuid;

/// A message of a worker's to one of the exchanges that others listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Also the AMQP property `type`.
    pub kind: &'static str,
    /// Its routing key.
    pub routing_key: String,
    /// Its header `account`, where it is about one.
    pub account: Option<String>,
    /// The same whenever the same is told again; `None` where nothing is told twice.
    pub message_id: Option<Uuid>,
    /// The body.
    pub body: Vec<u8>,
}
