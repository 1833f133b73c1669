//! Requests taken from a queue, on a connection of their own.
//!
//! RabbitMQ cannot deliver every message to an AMQP 0.9.1 consumer: it closes the consumer's
//! connection instead (541), at every delivery, until the queue drops the message by its delivery
//! limit. Everything that was unacknowledged on that connection has then been delivered once more.
//! So each queue has a connection of its own, which opens again at once, and takes requests one by
//! one until the queue has been quiet.

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    },
    types::{FieldTable, ShortString},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Addresses, BrokerError, Link, Names, NoReply, ReplyTo, backoff,
    connect::within,
    delivery::{message, reply_to, trace},
    mqtt::response_topic,
};
use crate::wire::{Message, Trace};

/// Requests taken at once after a connection was lost to a message that cannot be delivered: that
/// message alone.
const CAREFUL: u16 = 1;
/// How long requests are taken one by one after such a loss.
const CAREFUL_FOR: Duration = Duration::from_secs(5);
/// How long a connection may be missing before [`RequestQueue::trouble`] reports it.
const MISSING_FOR: Duration = Duration::from_secs(3);

/// A request as it was delivered.
#[derive(Debug)]
pub struct RequestDelivery {
    delivery: Delivery,
    channel: Channel,
}

impl RequestDelivery {
    /// What the contract reads of it.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        let mut message = message(&self.delivery);
        // Also a part of what tells this request from others.
        message.reply_to = message.reply_to.or_else(|| response_topic(&self.delivery));
        message
    }

    /// Where to answer it.
    ///
    /// # Errors
    /// Where it cannot be answered.
    pub fn reply_to(&self, names: &Names) -> Result<ReplyTo, NoReply> {
        reply_to(&self.delivery, names)
    }

    /// The trace that it belongs to, where its headers name one.
    #[must_use]
    pub fn trace(&self) -> Option<Trace> {
        trace(&self.delivery)
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
        let properties = self.delivery.properties;
        (
            self.delivery.routing_key,
            self.delivery.data,
            properties.message_id().clone(),
            properties.correlation_id().clone(),
        )
    }

    /// How to acknowledge or requeue it.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt {
            channel: self.channel.clone(),
            tag: self.delivery.delivery_tag,
        }
    }
}

/// Acknowledges or requeues a request on the channel that delivered it. Has no effect if that
/// channel is closed: RabbitMQ has requeued the request then.
#[derive(Debug)]
pub struct Receipt {
    channel: Channel,
    tag: u64,
}

impl Receipt {
    /// Acknowledges the request.
    pub fn ack(&self) {
        // The first poll hands it to the connection; if that is lost, the request comes again.
        let options = BasicAckOptions::default();
        let _ = self.channel.basic_ack(self.tag, options).now_or_never();
    }

    /// Requeues the request, for another worker or a better moment.
    pub fn release(&self) {
        let options = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        let _ = self.channel.basic_nack(self.tag, options).now_or_never();
    }
}

/// A queue of requests, consumed between [`Self::start`] and [`Self::stop`].
pub struct RequestQueue {
    addresses: Addresses,
    node: usize,
    connection: String,
    queue: String,
    prefetch: u16,
    state: State,
    careful_until: Option<Instant>,
    missing_since: Option<Instant>,
    /// Why the connection was lost, or did not open, the last time.
    failed: Option<BrokerError>,
    waits: Box<dyn Iterator<Item = Duration> + Send>,
}

enum State {
    Stopped,
    Opening(Opening),
    Consuming(Box<Consuming>),
}

type Opening = Pin<Box<dyn Future<Output = Result<Box<Consuming>, BrokerError>> + Send>>;

struct Consuming {
    link: Link,
    channel: Channel,
    consumer: Consumer,
}

impl RequestQueue {
    /// A queue that is not consumed yet. At most `prefetch` requests are unacknowledged at once.
    /// RabbitMQ lists its connection as `connection`; `node` is the first address to try.
    #[must_use]
    pub fn new(
        addresses: &Addresses,
        node: usize,
        connection: String,
        queue: String,
        prefetch: u16,
    ) -> Self {
        Self {
            addresses: addresses.clone(),
            node,
            connection,
            queue,
            prefetch,
            state: State::Stopped,
            careful_until: None,
            missing_since: None,
            failed: None,
            waits: Box::new(backoff()),
        }
    }

    /// Consumes the queue from here on; [`Self::next`] opens the connection.
    pub fn start(&mut self) {
        if matches!(self.state, State::Stopped) {
            self.open_after(Duration::ZERO);
        }
    }

    /// Stops consuming at once. RabbitMQ requeues what is not acknowledged. The connection closes
    /// in the background: RabbitMQ may not answer now, and a cancelled consumer whose answer is
    /// missing would keep its requests.
    pub fn stop(&mut self) {
        self.missing_since = None;
        if let State::Consuming(open) = std::mem::replace(&mut self.state, State::Stopped) {
            tokio::spawn(async move { open.link.close().await });
        }
    }

    /// Stops consuming, and returns the requests that were delivered before. They can be
    /// acknowledged until [`Self::stop`].
    pub async fn drain(&mut self) -> Vec<RequestDelivery> {
        let mut delivered = Vec::new();
        match &mut self.state {
            State::Stopped => {}
            State::Opening(_) => self.stop(),
            State::Consuming(open) => {
                let options = BasicCancelOptions::default();
                let cancel = open.channel.basic_cancel(open.consumer.tag(), options);
                let cancelled = within("cancelling a consumer", cancel).await;
                while let Some(Some(Ok(delivery))) = open.consumer.next().now_or_never() {
                    let channel = open.channel.clone();
                    delivered.push(RequestDelivery { delivery, channel });
                }
                if cancelled.is_err() {
                    self.stop();
                }
            }
        }
        delivered
    }

    /// The next request. Pending for ever while the queue is not consumed. Dropping the future
    /// loses none.
    ///
    /// # Errors
    /// The connection is lost or cannot be opened; the next call opens it again.
    pub async fn next(&mut self) -> Result<RequestDelivery, BrokerError> {
        loop {
            match &mut self.state {
                State::Stopped => return std::future::pending().await,
                State::Opening(opening) => match opening.await {
                    Ok(open) => {
                        self.state = State::Consuming(open);
                        self.missing_since = None;
                    }
                    Err(error) => {
                        if !error.is_by_a_message() {
                            self.node += 1;
                        }
                        self.open_again(&error);
                        return Err(error);
                    }
                },
                State::Consuming(open) => {
                    let taken = match self.careful_until {
                        None => open.consumer.next().await,
                        Some(until) => match timeout_at(until, open.consumer.next()).await {
                            Ok(taken) => taken,
                            Err(_) => {
                                self.careful_until = None;
                                self.stop();
                                self.start();
                                continue;
                            }
                        },
                    };
                    let error = match taken {
                        Some(Ok(delivery)) => {
                            self.waits = Box::new(backoff());
                            let channel = open.channel.clone();
                            return Ok(RequestDelivery { delivery, channel });
                        }
                        Some(Err(error)) => BrokerError::from(error),
                        None => BrokerError::Cancelled(self.queue.clone()),
                    };
                    self.open_again(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Why the queue has not been consumed for seconds, if it should be.
    #[must_use]
    pub fn trouble(&self) -> Option<&BrokerError> {
        self.missing_since
            .filter(|since| since.elapsed() >= MISSING_FOR)
            .and(self.failed.as_ref())
    }

    /// Opens the connection again: at once, and with care, if a single message ended it.
    fn open_again(&mut self, error: &BrokerError) {
        self.failed = Some(error.clone());
        let wait = if error.is_by_a_message() {
            self.careful_until = Some(Instant::now() + CAREFUL_FOR);
            Duration::ZERO
        } else {
            self.waits.next().unwrap_or(CAREFUL_FOR)
        };
        self.open_after(wait);
    }

    fn open_after(&mut self, wait: Duration) {
        self.missing_since.get_or_insert_with(Instant::now);
        let (addresses, node) = (self.addresses.clone(), self.node);
        let (connection, queue) = (self.connection.clone(), self.queue.clone());
        let careful = self.careful_until.is_some();
        let prefetch = if careful { CAREFUL } else { self.prefetch };
        self.state = State::Opening(Box::pin(async move {
            sleep(wait).await;
            let link = Link::open(&addresses, node, &connection).await?;
            let channel = link.channel().await?;
            let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
            within("setting the prefetch", qos).await?;
            let options = BasicConsumeOptions::default();
            let consume =
                channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
            let consumer = within("consuming requests", consume).await?;
            Ok(Box::new(Consuming {
                link,
                channel,
                consumer,
            }))
        }));
    }
}
