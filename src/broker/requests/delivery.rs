//! A delivered request, and its receipt.

use std::time::Duration;

use futures_util::FutureExt;
use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
    types::{FieldTable, ShortString},
};

use crate::{
    broker::{
        Names, NoReply, ReplyTo,
        delivery::{message, received, trace},
        ids::{AmqpId, long_correlation, long_message},
        mqtt::response_topic,
        reply_to::reply_to,
        topology::REQUEST_TTL,
    },
    domain::WallTime,
    wire::{Message, Trace},
};

/// Age from which a request has no effect: its TTL in the queue, and 5 s for the different clocks
/// of RabbitMQ's nodes. The TTL begins when the queue stores the message, and RabbitMQ can hold the
/// message before that.
const MAX_REQUEST_AGE: Duration = REQUEST_TTL.saturating_add(Duration::from_secs(5));

/// A delivered request.
#[derive(Debug)]
pub struct RequestDelivery {
    pub(super) delivery: Delivery,
    pub(super) channel: Channel,
    /// The queue is a worker's local one.
    pub(super) local: bool,
}

impl RequestDelivery {
    /// The parts of the request that the wire format reads.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        let mut message = message(&self.delivery);
        // Requests are deduplicated by these ids, and by the MQTT response topic like a `reply_to`.
        message.reply_to = message.reply_to.or_else(|| response_topic(&self.delivery));
        message.message_id = message.message_id.or_else(|| long_message(&self.delivery));
        message.correlation_id = message
            .correlation_id
            .or_else(|| long_correlation(&self.delivery));
        message
    }

    /// The reply address of the request.
    ///
    /// # Errors
    /// If the request wants no reply, or its reply address is invalid.
    pub fn reply_to(&self, names: &Names) -> Result<ReplyTo, NoReply> {
        reply_to(&self.delivery, names)
    }

    /// Returns whether the request is older than [`MAX_REQUEST_AGE`] by its time of arrival, at
    /// RabbitMQ's time `now`.
    #[must_use]
    pub fn is_late(&self, now: WallTime) -> bool {
        received(&self.delivery).is_some_and(|at| {
            let age = u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0);
            Duration::from_millis(age) > MAX_REQUEST_AGE
        })
    }

    /// The trace of the request, if its headers contain one.
    #[must_use]
    pub fn trace(&self) -> Option<Trace> {
        trace(&self.delivery)
    }

    /// The parts that are published again: key, body, and the properties of the contract. Ids that
    /// are no property are added to `headers`, except those that are too long.
    pub(in crate::broker) fn into_parts(
        self,
        headers: &mut FieldTable,
    ) -> (ShortString, Vec<u8>, BasicProperties) {
        let mut properties = BasicProperties::default();
        if let Some(id) = AmqpId::message(&self.delivery).filter(AmqpId::fits) {
            properties = id.put_message(properties, headers);
        }
        if let Some(id) = AmqpId::correlation(&self.delivery).filter(AmqpId::fits) {
            properties = id.put_correlation(properties, headers);
        }
        if let Some(encoding) = self.delivery.properties.content_encoding() {
            properties = properties.with_content_encoding(encoding.clone());
        }
        (self.delivery.routing_key, self.delivery.data, properties)
    }

    /// Acknowledges the request.
    pub fn ack(&self) {
        self.receipt().ack();
    }

    /// The receipt, to acknowledge or requeue the request.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt {
            channel: self.channel.clone(),
            tag: self.delivery.delivery_tag,
            local: self.local,
        }
    }
}

/// The receipt of a request, to acknowledge or requeue it on the channel that delivered it. Without
/// effect if that channel is closed, since RabbitMQ has requeued the request then.
#[derive(Debug)]
pub struct Receipt {
    channel: Channel,
    tag: u64,
    local: bool,
}

impl Receipt {
    /// Acknowledges the request.
    pub fn ack(&self) {
        // The first poll hands the ack to the connection. If it is lost, the request is redelivered.
        let options = BasicAckOptions::default();
        let _ = self.channel.basic_ack(self.tag, options).now_or_never();
    }

    /// Requeues the request for another worker. From a local queue, it moves to the shared one.
    pub fn release(&self) {
        let options = BasicNackOptions {
            requeue: !self.local,
            multiple: false,
        };
        let _ = self.channel.basic_nack(self.tag, options).now_or_never();
    }
}
