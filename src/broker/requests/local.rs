//! Consuming a local queue of `status` requests, which belongs to one session of a worker.
//!
//! The queue exists for speed, and the shared queue for safety: requests that the consumer of the
//! local queue does not get or does not acknowledge move there. See [`crate::broker::topology`].
//!
//! Each consumed queue has a new number. The worker's entries of the log contain the number, so that
//! other workers unbind the queue if the worker cannot do so itself.

use std::{pin::Pin, time::Duration};

use futures_util::StreamExt;
use lapin::message::Delivery;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    RequestDelivery,
    local_queue::{LocalQueue, LocalQueueSpec},
};
use crate::broker::{Backoff, BrokerError, Endpoint, Names};

/// Time without a local queue after a message has closed its connection. Undeliverable requests
/// often come in numbers, and the shared queue drops them one by one.
const REST: Duration = Duration::from_secs(30);

/// A local queue, consumed between [`Self::start`] and [`Self::stop`].
pub struct LocalRequests {
    spec: LocalQueueSpec,
    state: State,
    backoff: Backoff,
}

enum State {
    /// Not started, or the broker has no exchange for local queues.
    Idle,
    /// The queue with this number is being opened.
    Opening(u64, Opening),
    Consuming(Box<LocalQueue>),
}

type Opening = Pin<Box<dyn Future<Output = Result<Box<LocalQueue>, BrokerError>> + Send>>;

impl LocalRequests {
    /// Creates a queue that is not consumed yet. At most `prefetch` requests are unacknowledged at
    /// once: a worker that stands still holds no more. `endpoint` has the first address to try.
    #[must_use]
    pub fn new(endpoint: Endpoint, names: &Names, partition: u16, prefetch: u16) -> Self {
        Self {
            backoff: endpoint.backoff(),
            spec: LocalQueueSpec {
                endpoint,
                names: names.clone(),
                partition,
                prefetch,
            },
            state: State::Idle,
        }
    }

    /// The number of the queue that is consumed or being opened.
    #[must_use]
    pub const fn number(&self) -> Option<u64> {
        match &self.state {
            State::Idle => None,
            State::Opening(number, _) => Some(*number),
            State::Consuming(queue) => Some(queue.number),
        }
    }

    /// Starts consuming; [`Self::next`] opens the connection.
    pub fn start(&mut self) {
        if matches!(self.state, State::Idle) {
            self.state = self.open_after(Duration::ZERO);
        }
    }

    /// Stops consuming at once. Unacknowledged requests move to the shared queue. The connection
    /// closes in the background, since RabbitMQ may not respond now.
    pub fn stop(&mut self) {
        if let State::Consuming(queue) = std::mem::replace(&mut self.state, State::Idle) {
            tokio::spawn(self.spec.clone().remove(*queue));
        }
    }

    /// Does periodic work. Call it every few seconds.
    pub fn maintain(&mut self) {
        if let State::Consuming(queue) = &mut self.state {
            queue.maintain(&self.spec);
        }
    }

    /// Keeps requests from the queues with these numbers, in the background: the workers that
    /// consumed them have ended.
    pub fn unbind(&self, numbers: Vec<u64>) {
        tokio::spawn(self.spec.clone().unbind(numbers));
    }

    /// Stops consuming, and returns the requests already delivered. They can be acknowledged until
    /// [`Self::stop`].
    pub async fn drain(&mut self) -> Vec<RequestDelivery> {
        let mut delivered = Vec::new();
        let State::Consuming(queue) = &mut self.state else {
            self.stop();
            return delivered;
        };
        if queue.open.drain(&mut delivered).await.is_err() {
            self.stop();
        } else {
            queue.unbind(&self.spec).await;
        }
        delivered
    }

    /// The next request. Pending while the queue is not consumed. Cancel safe.
    ///
    /// # Errors
    /// If the connection is lost or cannot be opened; the next call opens it again.
    pub async fn next(&mut self) -> Result<RequestDelivery, BrokerError> {
        loop {
            match &mut self.state {
                State::Idle => return std::future::pending().await,
                State::Opening(_, opening) => {
                    let opened = opening.await;
                    self.opened(opened)?;
                }
                State::Consuming(queue) => {
                    let next = queue.open.consumer.next().await;
                    return self.received(next);
                }
            }
        }
    }

    fn opened(&mut self, opened: Result<Box<LocalQueue>, BrokerError>) -> Result<(), BrokerError> {
        let partition = self.spec.partition;
        match opened {
            Ok(queue) => {
                tracing::info!(partition, "consuming a local queue of status requests");
                self.state = State::Consuming(queue);
                Ok(())
            }
            Err(BrokerError::NotFound(_)) => {
                tracing::info!(
                    partition,
                    "consuming status requests from the shared queue alone: there is no exchange \
                     {}; `streamwatch topology declare` adds it on RabbitMQ 4",
                    self.spec.names.status(partition),
                );
                self.state = State::Idle;
                Ok(())
            }
            Err(error) => {
                self.spec.endpoint.move_on();
                Err(self.reopen_after(error))
            }
        }
    }

    fn received(
        &mut self,
        next: Option<lapin::Result<Delivery>>,
    ) -> Result<RequestDelivery, BrokerError> {
        let error = match (next, &self.state) {
            (Some(Ok(delivery)), State::Consuming(queue)) => {
                self.backoff.reset();
                return Ok(queue.open.request(delivery));
            }
            (Some(Err(error)), _) => error.into(),
            _ => BrokerError::Cancelled(self.spec.names.status(self.spec.partition)),
        };
        self.stop();
        Err(self.reopen_after(error))
    }

    /// Opens another queue after the back-off. Returns the error.
    fn reopen_after(&mut self, error: BrokerError) -> BrokerError {
        let wait = self.backoff.wait();
        let rest = if error.is_by_a_message() { REST } else { wait };
        self.state = self.open_after(rest);
        error
    }

    fn open_after(&self, wait: Duration) -> State {
        let spec = self.spec.clone();
        let number = Uuid::new_v4().as_u64_pair().0;
        let opening = async move {
            sleep(wait).await;
            spec.open(number).await
        };
        State::Opening(number, Box::pin(opening))
    }
}
