//! MQTT 5 devices set the reply address in a property of the message, the response topic. RabbitMQ
//! 4.0 and later passes it on.

use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use percent_encoding::percent_decode_str;

use super::{
    Names,
    delivery::{NoReply, header},
};
use crate::wire::is_reply_topic;

/// The response topic as RabbitMQ writes it into a message, with dots for slashes.
const RESPONSE_TOPIC: &str = "x-reply-to-topic";
/// The correlation data that is no AMQP short string; in a reply, any.
const CORRELATION: &str = "x-correlation-id";
/// Longest correlation data, in bytes: as in AMQP.
const MAX_CORRELATION_BYTES: usize = 255;

/// Where a device listens, and what its reply echoes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplyTopic {
    pub(super) key: ShortString,
    correlation: Option<LongString>,
}

impl ReplyTopic {
    /// Writes it into a message that is published again.
    pub(super) fn put(&self, headers: &mut FieldTable) {
        let topic = AMQPValue::LongString(self.key.as_str().into());
        headers.insert(RESPONSE_TOPIC.into(), topic);
        self.put_correlation(headers);
    }

    /// Writes what a reply echoes. Not as AMQP's correlation id, which cannot hold all of MQTT's;
    /// and as a string, for RabbitMQ 4.0 closes the device's connection over anything else.
    pub(super) fn put_correlation(&self, headers: &mut FieldTable) {
        if let Some(correlation) = &self.correlation {
            let correlation = AMQPValue::LongString(correlation.clone());
            headers.insert(CORRELATION.into(), correlation);
        }
    }
}

/// The response topic of a message, not verified.
pub(super) fn response_topic(delivery: &Delivery) -> Option<&str> {
    std::str::from_utf8(bytes(delivery, RESPONSE_TOPIC)?).ok()
}

/// Where to answer a message that came by MQTT; `None` where it did not, or asks for no reply.
///
/// Believed only of MQTT's exchange, and of the one that workers publish to what they take from the
/// intake: players may publish to neither.
pub(super) fn reply_topic(
    delivery: &Delivery,
    names: &Names,
) -> Option<Result<ReplyTopic, NoReply>> {
    let exchange = delivery.exchange.as_str();
    let by_mqtt = exchange == names.mqtt_exchange();
    if !by_mqtt && exchange != names.hash() {
        return None;
    }
    let wanted = match response_topic(delivery) {
        Some(topic) => topic.to_owned(),
        // A log keeps it as an address of AMQP 1.0.
        None if by_mqtt => in_log(delivery.properties.reply_to().as_ref()?.as_str(), names)?,
        None => return None,
    };
    let correlation = match delivery.properties.correlation_id() {
        Some(id) => Some(id.as_str().as_bytes()),
        None => bytes(delivery, CORRELATION),
    };
    let fits = correlation.is_none_or(|it| it.len() <= MAX_CORRELATION_BYTES);
    if !fits || !is_reply_topic(&wanted, delivery.routing_key.as_str()) {
        return Some(Err(NoReply::RefusedTopic));
    }
    Some(Ok(ReplyTopic {
        key: wanted.into(),
        correlation: correlation.map(|it| it.to_vec().into()),
    }))
}

/// `/exchanges/<MQTT's exchange>/<topic, percent-encoded>`
fn in_log(address: &str, names: &Names) -> Option<String> {
    let rest = address.strip_prefix("/exchanges/")?;
    let quoted = rest
        .strip_prefix(names.mqtt_exchange())?
        .strip_prefix('/')?;
    let topic = percent_decode_str(quoted).decode_utf8().ok()?;
    Some(topic.into_owned())
}

fn bytes<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a [u8]> {
    match header(delivery, name)? {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}
