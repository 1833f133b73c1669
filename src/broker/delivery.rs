//! A delivered message as the contract sees it.

use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    Names, direct, filter,
    mqtt::{self, ReplyTopic},
};
use crate::wire::{AccountHeader, Message, Problem, Trace};

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

/// The parts of `delivery` that the contract uses.
#[must_use]
pub(super) fn message(delivery: &Delivery) -> Message<'_> {
    let account = match header(delivery, "account") {
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
        correlation_id: properties
            .correlation_id()
            .as_ref()
            .map(ShortString::as_str),
        message_id: properties.message_id().as_ref().map(ShortString::as_str),
        app_id: properties.app_id().as_ref().map(ShortString::as_str),
        user_id: properties.user_id().as_ref().map(ShortString::as_str),
        undecodable: filter::is_undecodable(properties),
        body: &delivery.data,
    }
}

/// The place of an entry in its log.
pub(super) fn offset(delivery: &Delivery) -> Option<u64> {
    match header(delivery, "x-stream-offset")? {
        AMQPValue::LongLongInt(offset) => u64::try_from(*offset).ok(),
        _ => None,
    }
}

/// The trace that a message belongs to, where its headers name one.
pub(super) fn trace(delivery: &Delivery) -> Option<Trace> {
    let text = |name| match header(delivery, name)? {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        _ => None,
    };
    Trace::parse(text(TRACE_PARENT)?, text(TRACE_STATE))
}

/// Writes a trace into a message's headers.
pub(super) fn put_trace(headers: &mut FieldTable, trace: &Trace) {
    let text = |text: &str| AMQPValue::LongString(text.into());
    headers.insert(TRACE_PARENT.into(), text(&trace.to_string()));
    if !trace.state.is_empty() {
        headers.insert(TRACE_STATE.into(), text(&trace.state));
    }
}

/// Where a reply goes, and what it echoes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub(super) way: Way,
    /// The trace context of the request, if it has one.
    pub trace: Option<Box<Trace>>,
}

/// The route of a reply to its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the default exchange, into a queue.
    Queue {
        name: ShortString,
        correlation_id: Option<ShortString>,
    },
    /// By MQTT's exchange, under a topic.
    Topic(ReplyTopic),
}

/// Why a message cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// It asks for no reply.
    NotAsked,
    /// Its `reply_to` names a queue of ours, where a reply would be taken for an entry or request;
    /// or it is a direct reply-to that RabbitMQ did not make.
    Refused,
    /// Its response topic is not under its own topic: others may listen there, or take the reply for
    /// an event.
    RefusedTopic,
}

impl NoReply {
    /// The problem, if there is one.
    #[must_use]
    pub fn problem(self) -> Option<Problem> {
        match self {
            Self::NotAsked => None,
            Self::Refused => Some(Problem::reply_to()),
            Self::RefusedTopic => Some(Problem::response_topic()),
        }
    }
}

/// Where to answer `delivery`.
pub(super) fn reply_to(delivery: &Delivery, names: &Names) -> Result<ReplyTo, NoReply> {
    // Nearly all come by our own exchange: for them it is not worth a look.
    if delivery.exchange.as_str() != names.exchange()
        && let Some(topic) = mqtt::reply_topic(delivery, names)
    {
        let way = Way::Topic(topic?);
        return Ok(ReplyTo { way, trace: None });
    }
    match delivery.properties.reply_to() {
        None => Err(NoReply::NotAsked),
        Some(queue) if queue.as_str().is_empty() => Err(NoReply::NotAsked),
        Some(queue) if Names::is_ours(queue.as_str()) => Err(NoReply::Refused),
        Some(queue) if !direct::is_sound(queue.as_str()) => Err(NoReply::Refused),
        Some(queue) => Ok(ReplyTo {
            way: Way::Queue {
                name: queue.clone(),
                correlation_id: delivery.properties.correlation_id().clone(),
            },
            trace: None,
        }),
    }
}
