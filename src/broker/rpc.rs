//! A client's channel: publishes requests and events, and receives replies by direct reply-to.

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Consumer,
    options::BasicConsumeOptions,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    BrokerError, Link, Names,
    connect::within,
    unconfirmed::{Unconfirmed, confirming, publish},
};

const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A message from a client.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The client's number for it, which every [`RpcEvent`] about it carries.
    pub number: u64,
    /// Its routing key.
    pub routing_key: String,
    /// The header `account`.
    pub account: String,
    /// The same for every repetition of one request.
    pub message_id: Option<String>,
    /// A reply is wanted.
    pub reply: bool,
    /// The body.
    pub body: Vec<u8>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The broker has it.
    Confirmed,
    /// No queue takes it: there is no topology.
    Unroutable,
    /// The broker refused it: a queue is full.
    Refused,
}

/// What came back to a client, under the number of its message.
#[derive(Clone, Debug)]
pub enum RpcEvent {
    /// The broker said what became of the message.
    Published(u64, Published),
    /// The body of a reply.
    Reply(u64, Vec<u8>),
}

/// One channel of a client: many requests in flight, each answered under its number.
pub struct RpcChannel {
    channel: Channel,
    replies: Consumer,
    exchange: ShortString,
    unconfirmed: Unconfirmed<(u64, lapin::Result<Published>)>,
}

impl RpcChannel {
    /// Opens the channel.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn open(link: &Link, names: &Names) -> Result<Self, BrokerError> {
        let channel = confirming(link).await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let arguments = FieldTable::default();
        let consume = channel.basic_consume(DIRECT_REPLY_TO.into(), "".into(), options, arguments);
        let replies = within("consuming replies", consume).await?;
        Ok(Self {
            channel,
            replies,
            exchange: names.exchange().into(),
            unconfirmed: Unconfirmed::new(),
        })
    }

    /// Publishes a message. Does not wait: [`Self::next`] says what became of it.
    pub fn publish(&mut self, message: Outgoing) {
        let (channel, exchange) = (self.channel.clone(), self.exchange.clone());
        self.unconfirmed.begin(async move {
            let number = message.number;
            (number, send(&channel, exchange, message).await)
        });
    }

    /// The next confirm or reply. Dropping the future loses none.
    ///
    /// # Errors
    /// Where the channel is gone.
    pub async fn next(&mut self) -> Result<RpcEvent, BrokerError> {
        loop {
            tokio::select! {
                (number, published) = self.unconfirmed.next() => {
                    return Ok(RpcEvent::Published(number, published?));
                }
                delivered = self.replies.next() => {
                    let Some(delivery) = delivered else {
                        return Err(BrokerError::Cancelled(DIRECT_REPLY_TO.to_owned()));
                    };
                    let delivery = delivery?;
                    let id = delivery.properties.correlation_id().as_ref();
                    // Replies to nothing of ours are passed over.
                    if let Some(number) = id.and_then(|id| id.as_str().parse().ok()) {
                        return Ok(RpcEvent::Reply(number, delivery.data));
                    }
                }
            }
        }
    }
}

async fn send(
    channel: &Channel,
    exchange: ShortString,
    message: Outgoing,
) -> lapin::Result<Published> {
    let mut headers = FieldTable::default();
    let account = AMQPValue::LongString(message.account.into());
    headers.insert("account".into(), account);
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers);
    if message.reply {
        properties = properties
            .with_reply_to(DIRECT_REPLY_TO.into())
            .with_correlation_id(message.number.to_string().into());
    }
    if let Some(id) = message.message_id {
        properties = properties.with_message_id(id.into());
    }
    let key = message.routing_key.into();
    let confirmed = publish(channel, exchange, key, &message.body, properties).await?;
    Ok(match confirmed {
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Published::Unroutable,
        Confirmation::Nack(None) => Published::Refused,
        Confirmation::Ack(None) | Confirmation::NotRequested => Published::Confirmed,
    })
}
