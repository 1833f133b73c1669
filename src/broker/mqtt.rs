//! Replies to MQTT 5 devices. A device sets the message's response topic, to which it subscribes;
//! RabbitMQ 4.0 and later pass it on in a header.

use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use percent_encoding::percent_decode_str;

use super::{
    Names, NoReply,
    delivery::{exchange, header},
    ids::{CORRELATION_ID, long_correlation, text_or_binary},
};
use crate::wire::is_reply_topic;

/// The response topic as RabbitMQ writes it into a header, with dots for slashes.
const RESPONSE_TOPIC: &str = "x-reply-to-topic";
/// Longest correlation data, in bytes, as in AMQP.
const MAX_CORRELATION_BYTES: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplyTopic {
    pub(super) key: ShortString,
    correlation: Option<LongString>,
}

impl ReplyTopic {
    /// Adds the headers to a forwarded request.
    pub(super) fn put(&self, headers: &mut FieldTable) {
        let topic = AMQPValue::LongString(self.key.as_str().into());
        headers.insert(RESPONSE_TOPIC.into(), topic);
        self.put_correlation(headers);
    }

    /// Adds the correlation data to a reply. The AMQP correlation id cannot hold every value that
    /// MQTT allows. The header is a string: RabbitMQ 4.0 closes a device's connection over any
    /// other type.
    pub(super) fn put_correlation(&self, headers: &mut FieldTable) {
        if let Some(correlation) = &self.correlation {
            let correlation = AMQPValue::LongString(correlation.clone());
            headers.insert(CORRELATION_ID.into(), correlation);
        }
    }
}

/// The response topic of a message, without a check of its sender.
pub(super) fn response_topic(delivery: &Delivery) -> Option<&str> {
    std::str::from_utf8(text_or_binary(header(delivery, RESPONSE_TOPIC)?)?).ok()
}

/// The reply address of an MQTT message; `None` if the message is not from MQTT, or requests no
/// reply.
///
/// The header is accepted only from the MQTT exchange, and from the exchange through which workers
/// forward messages of the intake: players may publish to neither.
pub(super) fn reply_topic(
    delivery: &Delivery,
    names: &Names,
) -> Option<Result<ReplyTopic, NoReply>> {
    let exchange = exchange(delivery, names);
    let by_mqtt = exchange == names.mqtt_exchange();
    if !by_mqtt && exchange != names.hash() {
        return None;
    }
    let wanted = match response_topic(delivery) {
        Some(topic) => topic.to_owned(),
        // A stream queue stores it as an AMQP 1.0 address.
        None if by_mqtt => in_log(delivery.properties.reply_to().as_ref()?.as_str(), names)?,
        None => return None,
    };
    let correlation = match delivery.properties.correlation_id() {
        Some(id) => Some(id.as_str().as_bytes()),
        None => long_correlation(delivery),
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

/// Parses `/exchanges/<MQTT exchange>/<topic, percent-encoded>`.
fn in_log(address: &str, names: &Names) -> Option<String> {
    let rest = address.strip_prefix("/exchanges/")?;
    let quoted = rest
        .strip_prefix(names.mqtt_exchange())?
        .strip_prefix('/')?;
    let topic = percent_decode_str(quoted).decode_utf8().ok()?;
    Some(topic.into_owned())
}
