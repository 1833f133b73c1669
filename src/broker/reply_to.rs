//! Reply addresses.

use lapin::{message::Delivery, types::ShortString};

use super::{
    Names, NoReply,
    ids::AmqpId,
    mqtt::{self, ReplyTopic},
    reply_address::reply_queue,
};
use crate::wire::Trace;

/// The address of a reply, and the trace to return with it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyTo {
    pub(super) route: ReplyRoute,
    /// The trace of the request, if it has one.
    pub trace: Option<Box<Trace>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum ReplyRoute {
    /// Through the default exchange, into a queue.
    Queue {
        name: ShortString,
        correlation: Option<AmqpId>,
    },
    /// Through the MQTT exchange, under a topic.
    Topic(ReplyTopic),
}

pub(super) fn reply_to(delivery: &Delivery, names: &Names) -> Result<ReplyTo, NoReply> {
    // Skipped for the exchange that nearly all messages come from: it never carries a topic.
    if delivery.exchange.as_str() != names.exchange()
        && let Some(topic) = mqtt::reply_topic(delivery, names)
    {
        let route = ReplyRoute::Topic(topic?);
        return Ok(ReplyTo { route, trace: None });
    }
    let address = delivery.properties.reply_to().as_ref();
    let queue = reply_queue(address.map_or("", ShortString::as_str))?;
    let correlation = AmqpId::of_reply(delivery);
    if correlation.as_ref().is_some_and(|id| !id.fits()) {
        return Err(NoReply::RefusedCorrelation);
    }
    Ok(ReplyTo {
        route: ReplyRoute::Queue {
            name: queue.into_owned().into(),
            correlation,
        },
        trace: None,
    })
}
