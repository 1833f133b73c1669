//! Forwarding messages to their partition, with the header `account` that they lacked.

use std::{pin::pin, sync::Arc, time::Duration};

use lapin::{
    BasicProperties, Channel, Confirmation,
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    BrokerError, Connection, Names, ReplyTo, RequestDelivery,
    delivery::put_trace,
    reply_to::ReplyRoute,
    unconfirmed::{CONFIRM_WITHIN, Destination, Unconfirmed, confirming, publish},
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
    channel: Arc<CurrentChannel>,
    exchange: ShortString,
    unconfirmed: Unconfirmed<(T, Forwarded)>,
}

impl<T: Send + 'static> Forwarder<T> {
    /// Opens a forwarder on a connection for publishing.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn new(connection: &Arc<Connection>, names: &Names) -> Result<Self, BrokerError> {
        let channel = confirming(connection).await?;
        Ok(Self {
            channel: Arc::new(CurrentChannel {
                connection: Arc::clone(connection),
                channel: Mutex::new(channel),
            }),
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
        let (key, body, properties) = message.into_parts(&mut headers);
        let mut properties = properties
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        match reply_to.map(|to| &to.route) {
            Some(ReplyRoute::Queue { name, .. }) => {
                properties = properties.with_reply_to(name.clone());
            }
            Some(ReplyRoute::Topic(topic)) => topic.put(&mut headers),
            None => {}
        }
        let message = ForwardedMessage {
            to: (self.exchange.clone(), key),
            body,
            properties: properties.with_headers(headers),
        };
        let channel = Arc::clone(&self.channel);
        self.unconfirmed
            .begin(async move { (which, channel.forward(message, patience).await) });
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

struct ForwardedMessage {
    to: Destination,
    body: Vec<u8>,
    properties: BasicProperties,
}

impl ForwardedMessage {
    async fn publish(&self, channel: &Channel) -> lapin::Result<Confirmation> {
        let (to, properties) = (self.to.clone(), self.properties.clone());
        publish(channel, to, &self.body, properties, true).await
    }
}

struct CurrentChannel {
    connection: Arc<Connection>,
    channel: Mutex<Channel>,
}

impl CurrentChannel {
    /// Publishes a message until it is confirmed or `patience` is over, every [`CONFIRM_WITHIN`] on a
    /// new channel: RabbitMQ may send a channel's messages to a former leader of a log for good, if
    /// that leader was cut off.
    async fn forward(&self, message: ForwardedMessage, patience: Duration) -> Forwarded {
        let deadline = Instant::now() + patience;
        let mut channel = self.channel.lock().await.clone();
        loop {
            match self.confirm(message.publish(&channel), deadline).await {
                Some(Ok(Confirmation::Ack(None))) => return Forwarded::Confirmed,
                Some(Ok(_)) => return Forwarded::Refused,
                Some(Err(error)) => return Forwarded::Lost(error.into()),
                None if Instant::now() >= deadline => {
                    return Forwarded::TimedOut(BrokerError::Timeout {
                        doing: "publishing a message again",
                        waited: patience,
                    });
                }
                None => {}
            }
            match self.after(channel.id()).await {
                Ok(next) => channel = next,
                Err(error) => return Forwarded::Lost(error),
            }
        }
    }

    /// The outcome of one publishing, or `None` if it is to be repeated or given up.
    async fn confirm<T>(
        &self,
        publishing: impl Future<Output = T>,
        deadline: Instant,
    ) -> Option<T> {
        let mut publishing = pin!(publishing);
        loop {
            let until = deadline.min(Instant::now() + CONFIRM_WITHIN);
            match timeout_at(until, &mut publishing).await {
                Ok(outcome) => return Some(outcome),
                // After an alarm, RabbitMQ confirms everything that waits.
                Err(_) if self.connection.is_blocked() && Instant::now() < deadline => {}
                Err(_) => return None,
            }
        }
    }

    /// The channel after the one with this number, which is replaced once.
    async fn after(&self, id: u16) -> Result<Channel, BrokerError> {
        let mut channel = self.channel.lock().await;
        if channel.id() == id {
            *channel = confirming(&self.connection).await?;
        }
        Ok(channel.clone())
    }
}
