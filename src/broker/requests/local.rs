//! Consuming a local queue of `status` requests, which belongs to one session of a worker.
//!
//! The queue exists for speed, and the shared queue for safety: whatever happens to the local queue
//! or its consumer, its requests move to the shared queue. See [`crate::broker::topology`].

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt};
use tokio::time::sleep;
use uuid::Uuid;

use super::{RequestDelivery, connection::Consuming};
use crate::broker::{
    Addresses, Backoff, BrokerError, Link, Names,
    topology::{add_local_queue, remove_local_queue},
};

/// Time without a local queue after a message has closed its connection. Undeliverable requests
/// often come in numbers, and the shared queue drops them one by one.
const REST: Duration = Duration::from_secs(30);

/// A local queue, consumed between [`Self::start`] and [`Self::stop`].
pub struct LocalRequests {
    place: Place,
    state: State,
    backoff: Backoff,
}

/// The connection and the names that a queue needs.
#[derive(Clone)]
struct Place {
    addresses: Addresses,
    node: usize,
    /// The name of its connection.
    name: String,
    names: Names,
    partition: u16,
    prefetch: u16,
}

enum State {
    /// Not started, or the broker has no exchange for local queues.
    Idle,
    Opening(Opening),
    Consuming(Box<Local>),
}

type Opening = Pin<Box<dyn Future<Output = Result<Local, BrokerError>> + Send>>;

/// A consumed queue.
struct Local {
    queue: String,
    open: Consuming,
}

impl LocalRequests {
    /// Creates a queue that is not consumed yet. At most `prefetch` requests are unacknowledged at
    /// once: a worker that stands still holds no more. RabbitMQ lists its connection as `name`;
    /// `node` is the first address to try.
    #[must_use]
    pub fn new(
        addresses: &Addresses,
        node: usize,
        name: String,
        (names, partition): (&Names, u16),
        prefetch: u16,
    ) -> Self {
        Self {
            place: Place {
                addresses: addresses.clone(),
                node,
                name,
                names: names.clone(),
                partition,
                prefetch,
            },
            state: State::Idle,
            backoff: Backoff::over(addresses),
        }
    }

    /// Starts consuming; [`Self::next`] opens the connection.
    pub fn start(&mut self) {
        if matches!(self.state, State::Idle) {
            self.state = self.place.open_after(Duration::ZERO, None, Duration::ZERO);
        }
    }

    /// Stops consuming at once. Unacknowledged requests move to the shared queue. The connection
    /// closes in the background, since RabbitMQ may not respond now.
    pub fn stop(&mut self) {
        if let State::Consuming(local) = std::mem::replace(&mut self.state, State::Idle) {
            let place = self.place.clone();
            tokio::spawn(async move {
                // The connection first, since its consumer still receives requests. Without a majority
                // of nodes, RabbitMQ does not finish removing the queue, and then not closing either.
                local.open.link.close().await;
                let _ = place.remove_lost(&local.queue).await;
            });
        }
    }

    /// Stops consuming, and returns the requests already delivered. They can be acknowledged until
    /// [`Self::stop`].
    pub async fn drain(&mut self) -> Vec<RequestDelivery> {
        let mut delivered = Vec::new();
        let State::Consuming(local) = &mut self.state else {
            self.stop();
            return delivered;
        };
        let open = &mut local.open;
        let removed = self.place.remove(open, &local.queue).await;
        let cancelled = open.cancel().await;
        while let Some(Some(Ok(delivery))) = open.consumer.next().now_or_never() {
            delivered.push(RequestDelivery::of_local_queue(delivery, &open.channel));
        }
        if removed.and(cancelled).is_err() {
            self.stop();
        }
        delivered
    }

    /// The next request. Pending while the queue is not consumed. Cancel safe.
    ///
    /// # Errors
    /// If the connection is lost or cannot be opened; the next call opens it again.
    pub async fn next(&mut self) -> Result<RequestDelivery, BrokerError> {
        loop {
            let (error, lost) = match &mut self.state {
                State::Idle => return std::future::pending().await,
                State::Opening(opening) => match opening.await {
                    Ok(local) => {
                        tracing::info!(
                            partition = self.place.partition,
                            queue = local.queue,
                            "consuming a local queue of status requests"
                        );
                        self.state = State::Consuming(Box::new(local));
                        continue;
                    }
                    Err(BrokerError::NotFound(_)) => {
                        tracing::info!(
                            partition = self.place.partition,
                            "status requests come through the shared queue alone: {} is not an \
                             exchange for local queues",
                            self.place.names.local_status(self.place.partition),
                        );
                        self.state = State::Idle;
                        continue;
                    }
                    Err(error) => {
                        self.place.node += 1;
                        (error, None)
                    }
                },
                State::Consuming(local) => match local.open.consumer.next().await {
                    Some(Ok(delivery)) => {
                        self.backoff.reset();
                        let channel = &local.open.channel;
                        return Ok(RequestDelivery::of_local_queue(delivery, channel));
                    }
                    ended => {
                        let queue = std::mem::take(&mut local.queue);
                        let error = match ended {
                            Some(Err(error)) => error.into(),
                            _ => BrokerError::Cancelled(queue.clone()),
                        };
                        (error, Some(queue))
                    }
                },
            };
            let rest = if error.is_by_a_message() {
                REST
            } else {
                Duration::ZERO
            };
            self.state = self.place.open_after(self.backoff.wait(), lost, rest);
            return Err(error);
        }
    }
}

impl Place {
    /// After `wait`, removes the `lost` queue, rests, and consumes a new one.
    fn open_after(&self, wait: Duration, lost: Option<String>, rest: Duration) -> State {
        let place = self.clone();
        State::Opening(Box::pin(async move {
            sleep(wait).await;
            if let Some(queue) = lost {
                place.remove_lost(&queue).await?;
            }
            sleep(rest).await;
            place.open().await
        }))
    }

    /// Opens a connection, declares a queue there, and consumes it.
    async fn open(&self) -> Result<Local, BrokerError> {
        let session = Uuid::new_v4().as_u64_pair().0;
        let queue = self.names.local_status_queue(self.partition, session);
        let link = Link::open(&self.addresses, self.node, &self.name).await?;
        let channel = link.channel().await?;
        add_local_queue(&channel, &self.names, self.partition, &queue).await?;
        let open = Consuming::begin(link, channel, queue.clone(), self.prefetch).await?;
        Ok(Local { queue, open })
    }

    /// Keeps requests from a queue without a consumer. Otherwise they wait there until they
    /// move to the shared queue, as long as the queue exists.
    async fn remove_lost(&self, queue: &str) -> Result<(), BrokerError> {
        let link = Link::open(&self.addresses, self.node, &self.name).await?;
        let channel = link.channel().await?;
        // RabbitMQ may have deleted it.
        let _ = remove_local_queue(&channel, &self.names, self.partition, queue).await;
        link.close().await;
        Ok(())
    }

    async fn remove(&self, open: &Consuming, queue: &str) -> Result<(), BrokerError> {
        remove_local_queue(&open.channel, &self.names, self.partition, queue).await
    }
}
