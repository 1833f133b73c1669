//! Delivered messages as the wire format reads them: headers, properties, trace.

use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{Names, filter};
use crate::{
    domain::WallTime,
    wire::{ACCOUNT_HEADER, AccountHeader, Message, Trace},
};

/// Headers of the W3C trace context.
const TRACE_PARENT: &str = "traceparent";
const TRACE_STATE: &str = "tracestate";

pub(super) fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    delivery
        .properties
        .headers()
        .as_ref()
        .map(FieldTable::inner)?
        .get(name)
}

/// The exchange to which a message was published. For a request that has moved from a local to the
/// shared queue, RabbitMQ states it in a header, which publishers cannot set.
pub(super) fn exchange<'a>(delivery: &'a Delivery, names: &Names) -> &'a str {
    let exchange = delivery.exchange.as_str();
    if !names.is_shared_status(exchange) {
        return exchange;
    }
    match header(delivery, "x-last-death-exchange") {
        Some(AMQPValue::LongString(text)) => std::str::from_utf8(text.as_bytes()).unwrap_or(""),
        _ => exchange,
    }
}

#[must_use]
pub(super) fn message(delivery: &Delivery) -> Message<'_> {
    let account = match header(delivery, ACCOUNT_HEADER) {
        None => AccountHeader::Absent,
        Some(AMQPValue::LongString(text)) => AccountHeader::Text(text.as_bytes()),
        Some(_) => AccountHeader::NotText,
    };
    let properties = &delivery.properties;
    Message {
        exchange: delivery.exchange.as_str(),
        routing_key: delivery.routing_key.as_str(),
        account,
        reply_to: properties.reply_to().as_ref().map(ShortString::as_str),
        correlation_id: bytes(properties.correlation_id()),
        message_id: bytes(properties.message_id()),
        app_id: properties.app_id().as_ref().map(ShortString::as_str),
        user_id: properties.user_id().as_ref().map(ShortString::as_str),
        content_encoding: properties
            .content_encoding()
            .as_ref()
            .map(ShortString::as_str),
        undecodable: filter::is_undecodable(properties),
        body: &delivery.data,
    }
}

fn bytes(id: &Option<ShortString>) -> Option<&[u8]> {
    id.as_ref().map(|id| id.as_str().as_bytes())
}

/// The offset of an entry in its log.
pub(super) fn offset(delivery: &Delivery) -> Option<u64> {
    match header(delivery, "x-stream-offset")? {
        AMQPValue::LongLongInt(offset) => u64::try_from(*offset).ok(),
        _ => None,
    }
}

/// The time at which RabbitMQ received a message, if its interceptor `set_header_timestamp` is on.
/// Otherwise the header is the sender's.
pub(super) fn received(delivery: &Delivery) -> Option<WallTime> {
    match header(delivery, "timestamp_in_ms")? {
        AMQPValue::LongLongInt(ms) => Some(WallTime(*ms)),
        _ => None,
    }
}

pub(super) fn trace(delivery: &Delivery) -> Option<Trace> {
    let text = |name| match header(delivery, name)? {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        _ => None,
    };
    Trace::parse(text(TRACE_PARENT)?, text(TRACE_STATE))
}

pub(super) fn put_trace(headers: &mut FieldTable, trace: &Trace) {
    let text = |text: &str| AMQPValue::LongString(text.into());
    headers.insert(TRACE_PARENT.into(), text(&trace.to_string()));
    if !trace.state.is_empty() {
        headers.insert(TRACE_STATE.into(), text(&trace.state));
    }
}
