//! Requests taken from a queue, and the replies to them.

use futures_util::{FutureExt, StreamExt};
use lapin::{
    BasicProperties, Channel, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions,
        BasicPublishOptions, BasicQosOptions,
    },
    types::{FieldTable, ShortString},
};

use super::{
    BrokerError, Link, Names, NoReply, ReplyTo,
    connect::within,
    delivery::{Way, message, put_trace, reply_to, trace},
    direct,
    mqtt::response_topic,
    outlet::Outlet,
    properties::{contract, ours},
};
use crate::wire::{Encoded, Message, Trace};

/// How long a reply waits in an ordinary reply queue, in milliseconds. A direct one does not wait.
const REPLY_TTL_MS: &str = "10000";

/// A routing key of no queue: a message to it is dropped by the broker.
const NOBODY: &str = "streamwatch.nobody";

/// A request as it was delivered.
#[derive(Debug)]
pub struct RequestDelivery(Delivery);

impl RequestDelivery {
    /// What the contract reads of it.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        let mut message = message(&self.0);
        // Also a part of what tells this request from others.
        message.reply_to = message.reply_to.or_else(|| response_topic(&self.0));
        message
    }

    /// Where to answer it.
    ///
    /// # Errors
    /// Where it cannot be answered.
    pub fn reply_to(&self, names: &Names) -> Result<ReplyTo, NoReply> {
        reply_to(&self.0, names)
    }

    /// The trace that it belongs to, where its headers name one.
    #[must_use]
    pub fn trace(&self) -> Option<Trace> {
        trace(&self.0)
    }

    /// What is published again of it: key, body, message id, correlation id.
    pub(super) fn into_parts(
        self,
    ) -> (
        ShortString,
        Vec<u8>,
        Option<ShortString>,
        Option<ShortString>,
    ) {
        let properties = self.0.properties;
        (
            self.0.routing_key,
            self.0.data,
            properties.message_id().clone(),
            properties.correlation_id().clone(),
        )
    }

    /// How to acknowledge or release it.
    #[must_use]
    pub const fn tag(&self) -> u64 {
        self.0.delivery_tag
    }
}

/// A queue of requests, consumed while its worker can answer them.
pub struct RequestQueue {
    channel: Channel,
    queue: String,
    consumer: Option<Consumer>,
}

impl RequestQueue {
    /// A queue that is not consumed yet, with at most `prefetch` requests under way to us.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn new(link: &Link, queue: String, prefetch: u16) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        within("setting the prefetch", qos).await?;
        Ok(Self {
            channel,
            queue,
            consumer: None,
        })
    }

    /// Consumes the queue from here on.
    ///
    /// # Errors
    /// `NotFound` where there is no such queue.
    pub async fn start(&mut self) -> Result<(), BrokerError> {
        if self.consumer.is_none() {
            let consume = self.channel.basic_consume(
                self.queue.as_str().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            self.consumer = Some(within("consuming requests", consume).await?);
        }
        Ok(())
    }

    /// Consumes the queue no more, and returns what was under way to us.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn stop(&mut self) -> Result<Vec<RequestDelivery>, BrokerError> {
        let mut under_way = Vec::new();
        if let Some(mut consumer) = self.consumer.take() {
            let cancel = self
                .channel
                .basic_cancel(consumer.tag(), BasicCancelOptions::default());
            within("cancelling a consumer", cancel).await?;
            while let Some(Some(delivery)) = consumer.next().now_or_never() {
                under_way.push(RequestDelivery(delivery?));
            }
        }
        Ok(under_way)
    }

    /// The next request. Pending for ever while the queue is not consumed. Dropping the future
    /// loses none.
    ///
    /// # Errors
    /// Where the connection is lost or the queue deleted.
    pub async fn next(&mut self) -> Result<RequestDelivery, BrokerError> {
        let Some(consumer) = &mut self.consumer else {
            return std::future::pending().await;
        };
        match consumer.next().await {
            Some(delivery) => Ok(RequestDelivery(delivery?)),
            None => Err(BrokerError::Cancelled(self.queue.clone())),
        }
    }

    /// The request is done with.
    pub fn ack(&self, tag: u64) {
        // The first poll hands it to the connection; if that is lost, the request comes again.
        let options = BasicAckOptions::default();
        let _ = self.channel.basic_ack(tag, options).now_or_never();
    }

    /// Puts the request back, for another worker or a better moment.
    pub fn release(&self, tag: u64) {
        let options = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        let _ = self.channel.basic_nack(tag, options).now_or_never();
    }
}

/// Sends replies.
pub struct Responder {
    channel: Channel,
    /// To devices that speak MQTT. Beside the others, whom it must not harm where it may not publish.
    topics: Outlet,
}

impl Responder {
    /// A responder on a connection for publishing.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn new(link: &Link, names: &Names) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: link.channel().await?,
            topics: Outlet::new(names.mqtt_exchange()),
        })
    }

    /// Opens the way to devices that speak MQTT where it is not open. Returns what is worth saying
    /// of a failure.
    pub async fn look_after(&mut self, link: &Link) -> Option<BrokerError> {
        self.topics.look_after(link).await
    }

    /// The channel takes replies: a request must not be acknowledged whose reply goes nowhere.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    /// Hands a reply to the connection. Does not wait; a reply whose queue is gone is dropped by
    /// the broker.
    pub fn reply(&self, to: &ReplyTo, reply: &Encoded) {
        let mut headers = contract();
        if let Some(trace) = &to.trace {
            put_trace(&mut headers, trace);
        }
        let properties = ours(reply.kind);
        match &to.way {
            Way::Queue {
                name,
                correlation_id,
            } => {
                let mut properties = properties.with_headers(headers);
                if let Some(id) = correlation_id {
                    properties = properties.with_correlation_id(id.clone());
                }
                if !direct::is_direct(name.as_str()) {
                    properties = properties.with_expiration(REPLY_TTL_MS.into());
                }
                send(&self.channel, "".into(), name, reply, properties);
            }
            Way::Topic(topic) => {
                topic.put_correlation(&mut headers);
                let properties = properties
                    .with_headers(headers)
                    .with_expiration(REPLY_TTL_MS.into());
                if let Some(channel) = self.topics.open_channel() {
                    let exchange = self.topics.exchange().clone();
                    send(channel, exchange, &topic.key, reply, properties);
                }
            }
        }
    }
}

fn send(
    channel: &Channel,
    exchange: ShortString,
    key: &ShortString,
    reply: &Encoded,
    properties: BasicProperties,
) {
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange, key.clone(), options, &reply.body, properties);
    let _ = sent.now_or_never();
}

impl Responder {
    /// Waits until the replies so far are written: lapin lets a closing connection's close, and
    /// acks, overtake messages that still wait to be written. Bounded: a blocked connection writes
    /// nothing.
    pub async fn flush(&self) {
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        // A message to nobody, behind the replies: messages keep their order among themselves.
        let last = self
            .channel
            .basic_publish("".into(), NOBODY.into(), options, &[], properties);
        let _ = within("writing the last replies", last).await;
    }
}
