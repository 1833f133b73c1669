//! Forwarding messages to their partition, with the header `account` that they lacked.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Confirmation,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    BrokerError, Link, Names, ReplyTo, RequestDelivery,
    delivery::put_trace,
    reply_to::ReplyRoute,
    unconfirmed::{Unconfirmed, confirming, publish},
};
use crate::wire::ACCOUNT_HEADER;

/// The outcome of a forwarded message.
#[derive(Clone, Debug)]
pub enum Forwarded {
    /// A partition has the message.
    Confirmed,
    /// The broker rejected the message: a queue is full, or part of the topology is missing.
    Refused,
    /// The confirm timed out; the message may have arrived.
    TimedOut(BrokerError),
    /// The connection was lost; the message may have arrived.
    Lost(BrokerError),
}

/// Publishes messages again that lacked the header `account`. `T` identifies a message.
pub struct Forwarder<T> {
    channel: Channel,
    exchange: ShortString,
    unconfirmed: Unconfirmed<(T, Forwarded)>,
}

impl<T: Send + 'static> Forwarder<T> {
    /// Opens a forwarder on a connection for publishing.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn new(link: &Link, names: &Names) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: confirming(link).await?,
            // Not the header exchange: a message without a partition would return to the intake.
            exchange: names.hash().into(),
            unconfirmed: Unconfirmed::new(),
        })
    }

    /// Publishes a message without waiting; [`Self::next`] returns its outcome with `which`, at most
    /// `patience` later. Messages are published in the order of calls.
    ///
    /// Only the properties of the contract are copied: others can close the channel (`user_id`) or
    /// apply a second time (`CC`, `expiration`).
    pub fn forward(
        &mut self,
        which: T,
        message: RequestDelivery,
        account: &str,
        reply_to: Option<&ReplyTo>,
        patience: Duration,
    ) {
        let mut headers = FieldTable::default();
        headers.insert(ACCOUNT_HEADER.into(), AMQPValue::LongString(account.into()));
        if let Some(trace) = message.trace() {
            put_trace(&mut headers, &trace);
        }
        let mut properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        let (key, body, message_id, correlation_id) = message.into_parts();
        if let Some(id) = message_id {
            properties = properties.with_message_id(id);
        }
        if let Some(id) = correlation_id {
            properties = properties.with_correlation_id(id);
        }
        match reply_to.map(|to| &to.route) {
            Some(ReplyRoute::Queue { name, .. }) => {
                properties = properties.with_reply_to(name.clone());
            }
            Some(ReplyRoute::Topic(topic)) => topic.put(&mut headers),
            None => {}
        }
        let properties = properties.with_headers(headers);
        let (channel, exchange) = (self.channel.clone(), self.exchange.clone());
        self.unconfirmed.begin(async move {
            let confirmed = publish(&channel, exchange, key, &body, properties);
            let forwarded = match tokio::time::timeout(patience, confirmed).await {
                Ok(Ok(Confirmation::Ack(None))) => Forwarded::Confirmed,
                Ok(Ok(_)) => Forwarded::Refused,
                Ok(Err(error)) => Forwarded::Lost(error.into()),
                Err(_) => Forwarded::TimedOut(BrokerError::Timeout {
                    doing: "publishing a message again",
                    waited: patience,
                }),
            };
            (which, forwarded)
        });
    }

    /// The number of unconfirmed messages.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.unconfirmed.len()
    }

    /// The outcome of the next message. Pending while no message is unconfirmed. Cancel safe.
    pub async fn next(&mut self) -> (T, Forwarded) {
        self.unconfirmed.next().await
    }
}
