//! A client's channel: it publishes requests and events, and consumes replies by direct reply-to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Consumer,
    options::BasicConsumeOptions,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    BrokerError, Connection, Names,
    connect::{in_time, within},
    delivery::put_trace,
    direct::DIRECT_REPLY_TO,
    unconfirmed::{Unconfirmed, confirming, write},
};
use crate::{
    domain::{AccountId, Tenant},
    wire::{ACCOUNT_HEADER, GZIP, Kind, RoutingKey, Trace, compress},
};

/// Longest wait for RabbitMQ to close a channel; the client's other messages wait meanwhile.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Smallest body that is compressed, in bytes.
const MIN_COMPRESSED_BYTES: usize = 1024;

/// A message from a client.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its kind.
    pub kind: Kind,
    /// Its routing key.
    pub routing_key: String,
    /// The header `account`; `None` for a request about a tenant.
    pub account: Option<String>,
    /// The message id; the same for every repetition of one request.
    pub message_id: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the body is compressed with gzip.
    pub gzip: bool,
    /// The trace that it continues.
    pub trace: Option<Box<Trace>>,
}

impl Outgoing {
    /// A message of `tenant` without an id and a trace, of an account unless it is a request about
    /// the tenant.
    #[must_use]
    pub fn new(tenant: &Tenant, kind: Kind, account: Option<&AccountId>, body: Vec<u8>) -> Self {
        Self {
            kind,
            routing_key: RoutingKey::of_tenant(tenant, kind),
            account: account.map(|account| account.as_str().to_owned()),
            message_id: None,
            body,
            gzip: false,
            trace: None,
        }
    }

    /// Compresses a body of at least [`MIN_COMPRESSED_BYTES`].
    #[must_use]
    pub fn compressed(mut self) -> Self {
        if self.body.len() >= MIN_COMPRESSED_BYTES {
            self.body = compress(&self.body);
            self.gzip = true;
        }
        self
    }
}

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The broker confirmed the message.
    Confirmed,
    /// No queue is bound for the message: there is no topology.
    Unroutable,
    /// The broker rejected the message: a queue is full.
    Refused,
}

/// An event for a client, with the number of its message.
#[derive(Clone, Debug)]
pub enum RpcEvent {
    /// The outcome of the message.
    Published(u64, Published),
    /// The body of a reply.
    Reply(u64, Vec<u8>),
}

/// A channel of a client, with many requests in flight.
pub struct RpcChannel {
    channel: Channel,
    replies: Consumer,
    exchange: ShortString,
    unconfirmed: Unconfirmed<(u64, lapin::Result<Published>)>,
    /// Messages that lapin has not written to the socket yet.
    unwritten: Arc<AtomicUsize>,
}

impl RpcChannel {
    /// Opens a channel.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn open(connection: &Connection, names: &Names) -> Result<Self, BrokerError> {
        let channel = confirming(connection).await?;
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
            unwritten: Arc::default(),
        })
    }

    /// Publishes a message without waiting; [`Self::next`] returns its outcome.
    pub fn publish(&mut self, number: u64, message: Outgoing, reply: bool) {
        let (channel, exchange) = (self.channel.clone(), self.exchange.clone());
        let unwritten = Arc::clone(&self.unwritten);
        let correlation = reply.then(|| number.to_string());
        self.unconfirmed.begin(async move {
            let sent = send(&channel, exchange, message, correlation, &unwritten);
            (number, sent.await)
        });
    }

    /// Closes the channel. RabbitMQ drops its messages that no queue has accepted yet.
    ///
    /// # Errors
    /// If RabbitMQ does not read from the connection, or does not answer. The connection must be
    /// replaced then.
    pub async fn close(&mut self) -> Result<(), BrokerError> {
        // lapin would write them after the close, and RabbitMQ would close the connection.
        if self.unwritten.load(Relaxed) > 0 {
            return Err(BrokerError::Lost("RabbitMQ reads nothing".to_owned()));
        }
        let closing = self.channel.close(200, "a confirm is overdue".into());
        Ok(in_time("closing a channel", CLOSE_WITHIN, closing).await??)
    }

    /// The next confirm or reply. Cancel safe.
    ///
    /// # Errors
    /// If the channel is closed.
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
                    // Other replies are not for this client's messages.
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
    correlation: Option<String>,
    unwritten: &AtomicUsize,
) -> lapin::Result<Published> {
    let mut headers = FieldTable::default();
    if let Some(account) = message.account {
        let account = AMQPValue::LongString(account.into());
        headers.insert(ACCOUNT_HEADER.into(), account);
    }
    if let Some(trace) = message.trace {
        put_trace(&mut headers, &trace);
    }
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers);
    if let Some(id) = correlation {
        properties = properties
            .with_reply_to(DIRECT_REPLY_TO.into())
            .with_correlation_id(id.into());
    }
    if let Some(id) = message.message_id {
        properties = properties.with_message_id(id.into());
    }
    if message.gzip {
        properties = properties.with_content_encoding(GZIP.into());
    }
    let to = (exchange, message.routing_key.into());
    unwritten.fetch_add(1, Relaxed);
    let written = write(channel, to, &message.body, properties, true).await;
    unwritten.fetch_sub(1, Relaxed);
    Ok(match written?.await? {
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Published::Unroutable,
        Confirmation::Nack(None) => Published::Refused,
        Confirmation::Ack(None) | Confirmation::NotRequested => Published::Confirmed,
    })
}
