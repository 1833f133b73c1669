//! Subscribing to an exchange, for as long as the connection lasts.

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Consumer,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use uuid::Uuid;

use super::{BrokerError, Connection, connect::within};

const PREFETCH: u16 = 1_000;
/// Most messages queued for a slow subscriber; the broker then drops the oldest.
const MAX_WAITING: i64 = 100_000;

/// A message to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// The message id; the same for every repetition of one message.
    pub message_id: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// An exclusive queue bound to an exchange. RabbitMQ deletes it with the connection.
pub struct Subscription {
    channel: Channel,
    consumer: Consumer,
    queue: ShortString,
    exchange: ShortString,
    key: ShortString,
}

impl Subscription {
    /// Subscribes to messages of the topic exchange `exchange` whose routing key matches `key`. The
    /// queue's name starts with `prefix`, since a user's permissions are patterns of names.
    ///
    /// # Errors
    /// `NotFound` if the exchange does not exist, `AccessRefused` if the user may not subscribe.
    pub async fn open(
        connection: &Connection,
        exchange: &str,
        key: &str,
        prefix: &str,
    ) -> Result<Self, BrokerError> {
        let channel = connection.channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(MAX_WAITING));
        let options = QueueDeclareOptions::exclusive();
        let queue: ShortString = format!("{prefix}{}", Uuid::new_v4()).into();
        let declared = channel.queue_declare(queue.clone(), options, arguments);
        within("declaring a queue", declared).await?;
        let (exchange, key): (ShortString, ShortString) = (exchange.into(), key.into());
        bind(&channel, &queue, &exchange, &key).await?;
        let qos = channel.basic_qos(PREFETCH, BasicQosOptions::default());
        within("setting the prefetch", qos).await?;
        let options = BasicConsumeOptions::default();
        let consume =
            channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default());
        Ok(Self {
            consumer: within("consuming", consume).await?,
            channel,
            queue,
            exchange,
            key,
        })
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn next(&mut self) -> Result<Subscribed, BrokerError> {
        let Some(delivery) = self.consumer.next().await else {
            return Err(BrokerError::Cancelled(self.queue.to_string()));
        };
        let delivery = delivery?;
        let tag = delivery.delivery_tag;
        // The first poll hands the ack to the connection; there is nothing to wait for.
        let acked = self.channel.basic_ack(tag, BasicAckOptions::default());
        let _ = acked.now_or_never();
        let message_id = delivery.properties.message_id().as_ref();
        Ok(Subscribed {
            message_id: message_id.map(ToString::to_string),
            body: delivery.data,
        })
    }

    /// Binds the queue again: RabbitMQ deletes the bindings of a deleted exchange without notifying
    /// consumers.
    ///
    /// # Errors
    /// `NotFound` if the exchange does not exist; the channel is closed then.
    pub async fn check(&self) -> Result<(), BrokerError> {
        bind(&self.channel, &self.queue, &self.exchange, &self.key).await
    }
}

async fn bind(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &ShortString,
) -> Result<(), BrokerError> {
    let (queue, exchange, key) = (queue.clone(), exchange.clone(), key.clone());
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(queue, exchange, key, options, FieldTable::default());
    within("binding a queue", bound).await
}
