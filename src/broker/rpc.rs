//! A client's channel: publishes requests and events, and receives replies by direct reply-to.

use std::pin::Pin;

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{BrokerError, Link, Names, connect::within};

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

type Outcome = Pin<Box<dyn Future<Output = (u64, lapin::Result<Published>)> + Send>>;

/// One channel of a client: many requests in flight, each answered under its number.
pub struct RpcChannel {
    channel: Channel,
    replies: Consumer,
    exchange: ShortString,
    unconfirmed: FuturesUnordered<Outcome>,
}

impl RpcChannel {
    /// Opens the channel.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn open(link: &Link, names: &Names) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        within("asking for confirms", confirms).await?;
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
            unconfirmed: FuturesUnordered::new(),
        })
    }

    /// Publishes a message. Does not wait: [`Self::next`] says what became of it.
    pub fn publish(&mut self, message: Outgoing) {
        let (channel, exchange) = (self.channel.clone(), self.exchange.clone());
        let mut outcome: Outcome = Box::pin(async move {
            let number = message.number;
            (number, publish(&channel, exchange, message).await)
        });
        // The first poll hands the message to the connection, in order.
        match (&mut outcome).now_or_never() {
            Some(done) => self.unconfirmed.push(Box::pin(std::future::ready(done))),
            None => self.unconfirmed.push(outcome),
        }
    }

    /// The next confirm or reply. Dropping the future loses none.
    ///
    /// # Errors
    /// Where the channel is gone.
    pub async fn next(&mut self) -> Result<RpcEvent, BrokerError> {
        loop {
            tokio::select! {
                Some((number, published)) = self.unconfirmed.next() => {
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

async fn publish(
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
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let key = message.routing_key.into();
    let confirm = channel.basic_publish(exchange, key, options, &message.body, properties);
    Ok(match confirm.await?.await? {
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Published::Unroutable,
        Confirmation::Nack(None) => Published::Refused,
        Confirmation::Ack(None) | Confirmation::NotRequested => Published::Confirmed,
    })
}
