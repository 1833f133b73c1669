//! Ids of messages: the properties `message_id` and `correlation_id`, or headers in their place.
//!
//! AMQP 1.0 has ids of several types. RabbitMQ passes an id that is binary, or longer than a short
//! string, on to AMQP 0.9.1 consumers in a header. The header of a reply becomes a message
//! annotation of the same name.

use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::delivery::header;

/// The header of a correlation id. Replies by MQTT have no other.
pub(super) const CORRELATION_ID: &str = "x-correlation-id";
const MESSAGE_ID: &str = "x-message-id";
/// Longest id that is returned or forwarded, in bytes.
const MAX_ID_BYTES: usize = 1_024;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum AmqpId {
    /// A property.
    Short(ShortString),
    /// A header with a string or binary.
    Long(AMQPValue),
}

impl AmqpId {
    pub(super) fn correlation(delivery: &Delivery) -> Option<Self> {
        let short = delivery.properties.correlation_id();
        Self::of(short.as_ref(), delivery, CORRELATION_ID)
    }

    pub(super) fn message(delivery: &Delivery) -> Option<Self> {
        let short = delivery.properties.message_id();
        Self::of(short.as_ref(), delivery, MESSAGE_ID)
    }

    /// The correlation id of the reply to a message: its correlation id, else its message id. The
    /// requesters of RabbitMQ's libraries for AMQP 1.0 set only a message id.
    pub(super) fn of_reply(delivery: &Delivery) -> Option<Self> {
        Self::correlation(delivery).or_else(|| Self::message(delivery))
    }

    fn of(short: Option<&ShortString>, delivery: &Delivery, name: &str) -> Option<Self> {
        if let Some(id) = short {
            return Some(Self::Short(id.clone()));
        }
        let id = header(delivery, name)?;
        text_or_binary(id).map(|_| Self::Long(id.clone()))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Short(id) => id.as_str().len(),
            Self::Long(id) => text_or_binary(id).unwrap_or_default().len(),
        }
    }

    /// Returns whether the id is short enough to be returned and forwarded.
    pub(super) fn fits(&self) -> bool {
        self.len() <= MAX_ID_BYTES
    }

    pub(super) fn put_correlation(
        self,
        properties: BasicProperties,
        headers: &mut FieldTable,
    ) -> BasicProperties {
        match self {
            Self::Short(id) => properties.with_correlation_id(id),
            Self::Long(id) => {
                headers.insert(CORRELATION_ID.into(), id);
                properties
            }
        }
    }

    pub(super) fn put_message(
        self,
        properties: BasicProperties,
        headers: &mut FieldTable,
    ) -> BasicProperties {
        match self {
            Self::Short(id) => properties.with_message_id(id),
            Self::Long(id) => {
                headers.insert(MESSAGE_ID.into(), id);
                properties
            }
        }
    }
}

/// The correlation id of a message that is in a header.
pub(super) fn long_correlation(delivery: &Delivery) -> Option<&[u8]> {
    text_or_binary(header(delivery, CORRELATION_ID)?)
}

/// The message id of a message that is in a header.
pub(super) fn long_message(delivery: &Delivery) -> Option<&[u8]> {
    text_or_binary(header(delivery, MESSAGE_ID)?)
}

pub(super) fn text_or_binary(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}
