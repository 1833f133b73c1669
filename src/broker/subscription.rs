//! Listening at an exchange, for as long as the connection lasts.

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

use super::{BrokerError, Link, connect::within};

/// Messages under way to us at once.
const PREFETCH: u16 = 1_000;
/// Most messages that wait for a listener that is slow; the oldest go first.
const MAX_WAITING: i64 = 100_000;

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Equal in all repetitions of a message.
    pub message_id: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A queue of one's own, bound to an exchange. RabbitMQ deletes it with the connection.
pub struct Subscription {
    channel: Channel,
    consumer: Consumer,
    queue: ShortString,
    exchange: ShortString,
    key: ShortString,
}

impl Subscription {
    /// Subscribes to messages of the topic exchange `exchange` with keys that match `key`. The name
    /// of its queue starts with `prefix`, because permissions match names.
    ///
    /// # Errors
    /// `NotFound` if there is no such exchange, `AccessRefused` if the user has no permission.
    pub async fn open(
        link: &Link,
        exchange: &str,
        key: &str,
        prefix: &str,
    ) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
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
            consumer: within("listening", consume).await?,
            channel,
            queue,
            exchange,
            key,
        })
    }

    /// The next message. Dropping the future loses none.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub async fn next(&mut self) -> Result<Subscribed, BrokerError> {
        let Some(delivery) = self.consumer.next().await else {
            return Err(BrokerError::Cancelled(self.queue.to_string()));
        };
        let delivery = delivery?;
        let tag = delivery.delivery_tag;
        // Room for the next one; the first poll hands it to the connection.
        let acked = self.channel.basic_ack(tag, BasicAckOptions::default());
        let _ = acked.now_or_never();
        let message_id = delivery.properties.message_id().as_ref();
        Ok(Subscribed {
            message_id: message_id.map(ToString::to_string),
            body: delivery.data,
        })
    }

    /// Checks that the exchange still exists and restores the binding, because RabbitMQ deletes
    /// bindings with their exchange without a notification.
    ///
    /// # Errors
    /// `NotFound` if the exchange was deleted; the listener is closed then.
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
    within("listening at an exchange", bound).await
}
