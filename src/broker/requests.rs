//! Consuming a queue of requests, on connections that carry nothing else.
//!
//! RabbitMQ cannot deliver every message to an AMQP 0.9.1 consumer. At each delivery of such a
//! message it closes the consumer's connection with error 541, until the queue drops the message by
//! its delivery limit. RabbitMQ requeues the unacknowledged requests of the connection, and counts
//! a delivery of each.
//!
//! A queue is consumed on one connection. After a message has closed it, several connections
//! consume the queue with prefetch 1, until no message has closed a connection for 5 s: an
//! undeliverable message then closes one of them, and requests arrive on the others. If messages
//! close connections faster than new ones open, the prefetch grows: a single close then counts a
//! delivery of each message in a run of undeliverable ones, and of the requests between them.

mod connection;
mod delivery;
mod local;
mod local_queue;

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Backoff, BrokerError, Endpoint};
use connection::{Consuming, RequestConnection};
pub use delivery::{Receipt, RequestDelivery};
pub use local::LocalRequests;

/// Connections of a queue while messages close them.
const MAX_CONNECTIONS: usize = 4;
/// Time without a close by a message after which one connection is enough again.
const SEVERAL_FOR: Duration = Duration::from_secs(5);
/// Time without a connection after which [`RequestQueue::failure`] reports it.
const DOWN_FOR: Duration = Duration::from_secs(3);

/// A queue of requests, consumed between [`Self::start`] and [`Self::stop`].
pub struct RequestQueue {
    endpoint: Endpoint,
    queue: String,
    prefetch: u16,
    /// The prefetch of each connection while messages close connections.
    small_prefetch: u16,
    max_small_prefetch: u16,
    /// Empty while the queue is not consumed.
    connections: Vec<RequestConnection>,
    /// The time until which several connections are used.
    several_until: Option<Instant>,
    down_since: Option<Instant>,
    /// The queue was started and has not been consumed since.
    starting: bool,
    failed: Option<BrokerError>,
    backoff: Backoff,
}

impl RequestQueue {
    /// Creates a queue that is not consumed yet. At most `prefetch` requests are unacknowledged at
    /// once. `endpoint` has the first address to try.
    #[must_use]
    pub fn new(endpoint: Endpoint, queue: String, prefetch: u16) -> Self {
        Self {
            backoff: endpoint.backoff(),
            endpoint,
            queue,
            prefetch,
            small_prefetch: 1,
            max_small_prefetch: prefetch,
            connections: Vec::new(),
            several_until: None,
            down_since: None,
            starting: false,
            failed: None,
        }
    }

    /// Keeps the prefetch at 1 while messages close connections. So the delivery limit never drops
    /// a deliverable message, but a run of undeliverable ones takes longer.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.max_small_prefetch = 1;
        self
    }

    /// Starts consuming; [`Self::next`] opens the connection.
    pub fn start(&mut self) {
        if self.connections.is_empty() {
            self.down_since = Some(Instant::now());
            self.starting = true;
            self.open_after(Duration::ZERO);
        }
    }

    /// Stops consuming at once. RabbitMQ requeues unacknowledged requests. The connections close in
    /// the background, since RabbitMQ may not respond now. Consumers are not cancelled, since a
    /// consumer whose cancellation is not confirmed would keep its requests.
    pub fn stop(&mut self) {
        self.down_since = None;
        self.starting = false;
        for connection in self.connections.drain(..) {
            if let RequestConnection::Consuming(open) = connection {
                tokio::spawn(async move { open.connection.close().await });
            }
        }
    }

    /// Stops consuming, and returns the requests already delivered. They can be acknowledged until
    /// [`Self::stop`].
    pub async fn drain(&mut self) -> Vec<RequestDelivery> {
        let mut delivered = Vec::new();
        self.connections.retain(RequestConnection::is_consuming);
        self.several_until = None;
        let mut answered = true;
        for connection in &mut self.connections {
            let RequestConnection::Consuming(open) = connection else {
                continue;
            };
            answered &= open.drain(&mut delivered).await.is_ok();
        }
        if !answered {
            self.stop();
        }
        delivered
    }

    /// The next request. Pending while the queue is not consumed. Cancel safe.
    ///
    /// # Errors
    /// If a connection is lost or cannot be opened; the next call opens it again.
    pub async fn next(&mut self) -> Result<RequestDelivery, BrokerError> {
        while let Some(until) = self.several_until {
            match timeout_at(until, poll_fn(|context| self.poll(context))).await {
                Ok(delivered) => return delivered,
                Err(_) => {
                    self.several_until = None;
                    self.connections.retain(RequestConnection::is_consuming);
                    self.open_after(Duration::ZERO);
                }
            }
        }
        poll_fn(|context| self.poll(context)).await
    }

    /// Returns whether the queue was started and has not been consumed since.
    #[must_use]
    pub const fn is_starting(&self) -> bool {
        self.starting
    }

    /// The last error, if the queue was started and no connection has consumed it for 3 s.
    #[must_use]
    pub fn failure(&self) -> Option<&BrokerError> {
        self.down_since
            .filter(|since| since.elapsed() >= DOWN_FOR)
            .and(self.failed.as_ref())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<RequestDelivery, BrokerError>> {
        let mut n = 0;
        while let Some(connection) = self.connections.get_mut(n) {
            let error = match connection {
                RequestConnection::Opening(opening) => match opening.as_mut().poll(context) {
                    Poll::Pending => {
                        n += 1;
                        continue;
                    }
                    Poll::Ready(Ok(open)) => {
                        *connection = RequestConnection::Consuming(open);
                        self.down_since = None;
                        self.starting = false;
                        if self.several_until.is_none() {
                            n = self.keep_only(n);
                        }
                        continue;
                    }
                    Poll::Ready(Err(error)) => {
                        if !error.is_by_a_message() {
                            self.endpoint.move_on();
                        }
                        error
                    }
                },
                RequestConnection::Consuming(open) => {
                    match open.consumer.poll_next_unpin(context) {
                        Poll::Pending => {
                            n += 1;
                            continue;
                        }
                        Poll::Ready(Some(Ok(delivery))) => {
                            self.backoff.reset();
                            return Poll::Ready(Ok(open.request(delivery)));
                        }
                        Poll::Ready(Some(Err(error))) => error.into(),
                        Poll::Ready(None) => BrokerError::Cancelled(self.queue.clone()),
                    }
                }
            };
            self.lost(n, &error);
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }

    /// Retires all connections except `n`. Returns its new index.
    fn keep_only(&mut self, n: usize) -> usize {
        self.connections.swap(0, n);
        for connection in self.connections.drain(1..) {
            if let RequestConnection::Consuming(open) = connection {
                tokio::spawn(open.retire());
            }
        }
        0
    }

    /// Removes the lost connection `n`. If a message closed it, opens connections up to
    /// [`MAX_CONNECTIONS`] at once. Otherwise opens one after the back-off, if none is left or if
    /// the lost one was to replace the others.
    fn lost(&mut self, n: usize, error: &BrokerError) {
        self.failed = Some(error.clone());
        self.connections.swap_remove(n);
        let consuming = self
            .connections
            .iter()
            .filter(|connection| connection.is_consuming())
            .count();
        if consuming == 0 {
            self.down_since.get_or_insert_with(Instant::now);
        }
        if error.is_by_a_message() {
            let behind_another = self
                .several_until
                .replace(Instant::now() + SEVERAL_FOR)
                .is_some();
            self.small_prefetch = match (behind_another, consuming) {
                (false, _) => 1,
                (true, 0) => (2 * self.small_prefetch).min(self.max_small_prefetch),
                (true, _) => (self.small_prefetch / 2).max(1),
            };
            while self.connections.len() < MAX_CONNECTIONS {
                self.open_after(Duration::ZERO);
            }
        } else if self.connections.is_empty()
            // The connection that was to replace the others.
            || self.several_until.is_none() && self.connections.iter().all(RequestConnection::is_consuming)
        {
            let wait = self.backoff.wait();
            self.open_after(wait);
        }
    }

    /// Starts to open a connection after `wait`.
    fn open_after(&mut self, wait: Duration) {
        let prefetch = match self.several_until {
            None => self.prefetch,
            Some(_) => self.small_prefetch,
        };
        let opening = Consuming::open(self.endpoint.clone(), self.queue.clone(), prefetch);
        let opening = Box::pin(async move {
            sleep(wait).await;
            opening.await
        });
        self.connections.push(RequestConnection::Opening(opening));
    }
}
