//! Requests taken from a queue, on connections of their own.
//!
//! RabbitMQ cannot deliver every message to an AMQP 0.9.1 consumer. It closes the consumer's
//! connection instead (541), at every delivery, until the queue drops the message by its delivery
//! limit. RabbitMQ requeues what was unacknowledged on that connection, and counts a delivery of
//! it.
//!
//! A queue is consumed on one connection. Once a message has closed it, several connections consume
//! the queue with prefetch 1 until no message has closed any for some seconds: an undeliverable
//! message then closes one of them, and requests arrive on the others. If messages close
//! connections faster than others open, the prefetch grows: one close counts a delivery of each
//! message in a run of undeliverable ones, and of the requests between them.

mod lane;

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
    types::ShortString,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Addresses, Backoff, BrokerError, Names, NoReply, ReplyTo,
    delivery::{message, reply_to, trace},
    mqtt::response_topic,
};
use crate::wire::{Message, Trace};
use lane::{Consuming, Lane};

/// Connections that consume a queue while messages close them.
const LANES: usize = 4;
/// How long no message must have closed a connection before one connection is enough again.
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
    /// The parts that the contract uses.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        let mut message = message(&self.delivery);
        // It is also part of the request's identity.
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

    /// The parts that are published again: key, body, message id, correlation id.
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
    /// The prefetch of each connection while messages close them.
    careful: u16,
    /// Most of it.
    most_careful: u16,
    /// None while the queue is not consumed.
    lanes: Vec<Lane>,
    careful_until: Option<Instant>,
    missing_since: Option<Instant>,
    /// Why a connection was lost, or did not open, the last time.
    failed: Option<BrokerError>,
    backoff: Backoff,
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
            careful: 1,
            most_careful: prefetch,
            lanes: Vec::new(),
            careful_until: None,
            missing_since: None,
            failed: None,
            backoff: Backoff::default(),
        }
    }

    /// Takes no message beside an undeliverable one: the delivery limit never drops one that can be
    /// delivered, however long a run of undeliverable ones takes.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.most_careful = 1;
        self
    }

    /// Consumes the queue from here on; [`Self::next`] opens the connection.
    pub fn start(&mut self) {
        if self.lanes.is_empty() {
            self.missing_since = Some(Instant::now());
            let lane = self.open_after(Duration::ZERO);
            self.lanes.push(lane);
        }
    }

    /// Stops consuming at once. RabbitMQ requeues what is not acknowledged. The connections close
    /// in the background: RabbitMQ may not answer now, and a cancelled consumer whose answer is
    /// missing would keep its requests.
    pub fn stop(&mut self) {
        self.missing_since = None;
        for lane in self.lanes.drain(..) {
            if let Lane::Consuming(open) = lane {
                tokio::spawn(async move { open.link.close().await });
            }
        }
    }

    /// Stops consuming, and returns the requests that were delivered before. They can be
    /// acknowledged until [`Self::stop`].
    pub async fn drain(&mut self) -> Vec<RequestDelivery> {
        let mut delivered = Vec::new();
        self.lanes.retain(Lane::is_consuming);
        self.careful_until = None;
        let mut answered = true;
        for lane in &mut self.lanes {
            let Lane::Consuming(open) = lane else {
                continue;
            };
            answered &= open.cancel().await.is_ok();
            while let Some(Some(Ok(delivery))) = open.consumer.next().now_or_never() {
                let channel = open.channel.clone();
                delivered.push(RequestDelivery { delivery, channel });
            }
        }
        if !answered {
            self.stop();
        }
        delivered
    }

    /// The next request. Pending for ever while the queue is not consumed. Dropping the future
    /// loses none.
    ///
    /// # Errors
    /// A connection is lost or cannot be opened; the next call opens it again.
    pub async fn next(&mut self) -> Result<RequestDelivery, BrokerError> {
        while let Some(until) = self.careful_until {
            match timeout_at(until, poll_fn(|context| self.poll(context))).await {
                Ok(taken) => return taken,
                Err(_) => {
                    self.careful_until = None;
                    self.lanes.retain(Lane::is_consuming);
                    let lane = self.open_after(Duration::ZERO);
                    self.lanes.push(lane);
                }
            }
        }
        poll_fn(|context| self.poll(context)).await
    }

    /// Why the queue has not been consumed for seconds, if it should be.
    #[must_use]
    pub fn trouble(&self) -> Option<&BrokerError> {
        self.missing_since
            .filter(|since| since.elapsed() >= MISSING_FOR)
            .and(self.failed.as_ref())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<RequestDelivery, BrokerError>> {
        let mut n = 0;
        while let Some(lane) = self.lanes.get_mut(n) {
            let error = match lane {
                Lane::Opening(opening) => match opening.as_mut().poll(context) {
                    Poll::Pending => {
                        n += 1;
                        continue;
                    }
                    Poll::Ready(Ok(open)) => {
                        *lane = Lane::Consuming(open);
                        self.missing_since = None;
                        if self.careful_until.is_none() {
                            n = self.keep_only(n);
                        }
                        continue;
                    }
                    Poll::Ready(Err(error)) => {
                        if !error.is_by_a_message() {
                            self.node += 1;
                        }
                        error
                    }
                },
                Lane::Consuming(open) => match open.consumer.poll_next_unpin(context) {
                    Poll::Pending => {
                        n += 1;
                        continue;
                    }
                    Poll::Ready(Some(Ok(delivery))) => {
                        let channel = open.channel.clone();
                        self.backoff = Backoff::default();
                        return Poll::Ready(Ok(RequestDelivery { delivery, channel }));
                    }
                    Poll::Ready(Some(Err(error))) => error.into(),
                    Poll::Ready(None) => BrokerError::Cancelled(self.queue.clone()),
                },
            };
            self.lost(n, &error);
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }

    /// Retires all connections but this one; returns its new place.
    fn keep_only(&mut self, n: usize) -> usize {
        self.lanes.swap(0, n);
        for lane in self.lanes.drain(1..) {
            if let Lane::Consuming(open) = lane {
                tokio::spawn(open.retire());
            }
        }
        0
    }

    /// Opens a lost connection again: at once, and others beside it, if a single message closed it.
    fn lost(&mut self, n: usize, error: &BrokerError) {
        self.failed = Some(error.clone());
        self.lanes.swap_remove(n);
        let consuming = self.lanes.iter().filter(|lane| lane.is_consuming()).count();
        if consuming == 0 {
            self.missing_since.get_or_insert_with(Instant::now);
        }
        if error.is_by_a_message() {
            let behind_another = self
                .careful_until
                .replace(Instant::now() + CAREFUL_FOR)
                .is_some();
            self.careful = match consuming {
                0 if behind_another => self.careful.saturating_mul(2).min(self.most_careful),
                0 => 1,
                1 => self.careful,
                _ => (self.careful / 2).max(1),
            };
            while self.lanes.len() < LANES {
                let lane = self.open_after(Duration::ZERO);
                self.lanes.push(lane);
            }
        } else if self.lanes.is_empty()
            // The one that was to replace the others.
            || self.careful_until.is_none() && self.lanes.iter().all(Lane::is_consuming)
        {
            let wait = self.backoff.wait();
            let lane = self.open_after(wait);
            self.lanes.push(lane);
        }
    }

    fn open_after(&self, wait: Duration) -> Lane {
        let prefetch = match self.careful_until {
            None => self.prefetch,
            Some(_) => self.careful,
        };
        let opening = Consuming::open(
            self.addresses.clone(),
            self.node,
            self.connection.clone(),
            self.queue.clone(),
            prefetch,
        );
        Lane::Opening(Box::pin(async move {
            sleep(wait).await;
            opening.await
        }))
    }
}
