//! Consuming a local queue of `status` requests, which belongs to one session of a worker.
//!
//! The queue exists for speed, and the shared queue for safety: requests that the consumer of the
//! local queue does not get or does not acknowledge move there. See [`crate::broker::topology`].

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
    /// Queues that are not consumed any more and may still be bound.
    former: Vec<String>,
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

type Opening = Pin<Box<dyn Future<Output = Result<Box<Local>, BrokerError>> + Send>>;

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
            former: Vec::new(),
            backoff: Backoff::over(addresses),
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
        if let State::Consuming(local) = std::mem::replace(&mut self.state, State::Idle) {
            let Local { queue, open } = *local;
            self.former.push(queue.clone());
            let (place, former) = (self.place.clone(), [queue]);
            tokio::spawn(async move {
                // The connection first, since its consumer still receives requests. Without a majority
                // of nodes, RabbitMQ does not finish removing the queue, and then not closing either.
                open.link.close().await;
                if let Ok(link) = place.open_without(&former).await {
                    link.close().await;
                }
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
        let cancelled = open.cancel().await;
        while let Some(Some(Ok(delivery))) = open.consumer.next().now_or_never() {
            delivered.push(RequestDelivery::of_local_queue(delivery, &open.channel));
        }
        if cancelled.is_err() {
            self.stop();
        } else {
            let (names, partition) = (&self.place.names, self.place.partition);
            let _ = remove_local_queue(&open.channel, names, partition, &local.queue).await;
        }
        delivered
    }

    /// The next request. Pending while the queue is not consumed. Cancel safe.
    ///
    /// # Errors
    /// If the connection is lost or cannot be opened; the next call opens it again.
    pub async fn next(&mut self) -> Result<RequestDelivery, BrokerError> {
        loop {
            let error = match &mut self.state {
                State::Idle => return std::future::pending().await,
                State::Opening(opening) => match opening.await {
                    Ok(local) => {
                        self.former.clear();
                        tracing::info!(
                            partition = self.place.partition,
                            "consuming a local queue of status requests"
                        );
                        self.state = State::Consuming(local);
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
                        error
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
                        self.former.push(queue.clone());
                        match ended {
                            Some(Err(error)) => error.into(),
                            _ => BrokerError::Cancelled(queue),
                        }
                    }
                },
            };
            let wait = self.backoff.wait();
            let rest = if error.is_by_a_message() { REST } else { wait };
            self.state = self.open_after(rest);
            return Err(error);
        }
    }

    /// Consumes a new queue after `wait`.
    fn open_after(&self, wait: Duration) -> State {
        let (place, former) = (self.place.clone(), self.former.clone());
        State::Opening(Box::pin(async move {
            sleep(wait).await;
            place.open(&former).await
        }))
    }
}

impl Place {
    /// Opens a connection, declares a queue there, and consumes it.
    async fn open(&self, former: &[String]) -> Result<Box<Local>, BrokerError> {
        let session = Uuid::new_v4().as_u64_pair().0;
        let queue = self.names.local_status_queue(self.partition, session);
        let link = self.open_without(former).await?;
        let channel = link.channel().await?;
        add_local_queue(&channel, &self.names, self.partition, &queue).await?;
        let open = Consuming::begin(link, channel, queue.clone(), self.prefetch).await?;
        Ok(Box::new(Local { queue, open }))
    }

    /// Opens a connection, and keeps requests from former queues, so that none is lost when RabbitMQ
    /// deletes them.
    async fn open_without(&self, former: &[String]) -> Result<Link, BrokerError> {
        let link = Link::open(&self.addresses, self.node, &self.name).await?;
        for queue in former {
            // RabbitMQ may have deleted it, and closes the channel then.
            let channel = link.channel().await?;
            let _ = remove_local_queue(&channel, &self.names, self.partition, queue).await;
        }
        Ok(link)
    }
}
