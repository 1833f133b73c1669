//! Reply addresses.

use lapin::{message::Delivery, types::ShortString};

use super::{
    Names, NoReply, direct,
    mqtt::{self, ReplyTopic},
    queue_names::is_streamwatch_queue,
};
use crate::wire::Trace;

/// The address of a reply, and the trace to return with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub(super) route: ReplyRoute,
    /// The trace of the request, if it has one.
    pub trace: Option<Box<Trace>>,
}

/// The route of a reply to its requester.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReplyRoute {
    /// Through the default exchange, into a queue.
    Queue {
        name: ShortString,
        correlation_id: Option<ShortString>,
    },
    /// Through the MQTT exchange, under a topic.
    Topic(ReplyTopic),
}

/// The reply address of `delivery`.
pub(super) fn reply_to(delivery: &Delivery, names: &Names) -> Result<ReplyTo, NoReply> {
    // Skipped for the exchange that nearly all messages come from: it never carries a topic.
    if delivery.exchange.as_str() != names.exchange()
        && let Some(topic) = mqtt::reply_topic(delivery, names)
    {
        let route = ReplyRoute::Topic(topic?);
        return Ok(ReplyTo { route, trace: None });
    }
    match delivery.properties.reply_to() {
        None => Err(NoReply::NotAsked),
        Some(queue) if queue.as_str().is_empty() => Err(NoReply::NotAsked),
        Some(queue) if is_streamwatch_queue(queue.as_str()) => Err(NoReply::Refused),
        Some(queue) if !direct::is_sound(queue.as_str()) => Err(NoReply::Refused),
        Some(queue) => Ok(ReplyTo {
            route: ReplyRoute::Queue {
                name: queue.clone(),
                correlation_id: delivery.properties.correlation_id().clone(),
            },
            trace: None,
        }),
    }
}
