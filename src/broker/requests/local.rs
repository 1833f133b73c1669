//! Consuming a local queue of `status` requests, which belongs to one session of a worker.
//!
//! The queue exists for speed, and the shared queue for safety: requests that the consumer of the
//! local queue does not get or does not acknowledge move there. See [`crate::broker::topology`].

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{RequestDelivery, connection::Consuming};
use crate::broker::{
    Addresses, Backoff, BrokerError, Link, Names,
    topology::{StatusRouting, add_local_queue, remove_local_queue},
};

/// Time without a local queue after a message has closed its connection. Undeliverable requests
/// often come in numbers, and the shared queue drops them one by one.
const REST: Duration = Duration::from_secs(30);

/// Time to unbind a queue while a worker shuts down. The delivered requests wait meanwhile, and a node
/// without a majority does not respond.
const UNBINDING: Duration = Duration::from_secs(1);

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
            tokio::spawn(self.place.clone().remove(*local));
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
            let removal = self.place.unbind(&open.channel, &local.queue);
            let _ = timeout(UNBINDING, removal).await;
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
                            "consuming status requests from the shared queue alone: there is no \
                             exchange {}; `streamwatch topology declare` adds it on RabbitMQ 4",
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
                        let error = match ended {
                            Some(Err(error)) => error.into(),
                            _ => BrokerError::Cancelled(local.queue.clone()),
                        };
                        self.stop();
                        error
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
        let place = self.place.clone();
        State::Opening(Box::pin(async move {
            sleep(wait).await;
            place.open().await
        }))
    }
}

impl Place {
    /// Opens a connection, declares a queue there, and consumes it.
    async fn open(&self) -> Result<Box<Local>, BrokerError> {
        let session = Uuid::new_v4().as_u64_pair().0;
        let queue = self.names.local_status_queue(self.partition, session);
        let (link, channel) = self.connect().await?;
        if StatusRouting::of(&link).await? == StatusRouting::Shared {
            // RabbitMQ 3 would refuse the queue's arguments.
            return Err(BrokerError::NotFound(
                self.names.local_status(self.partition),
            ));
        }
        add_local_queue(&channel, &self.names, self.partition, &queue).await?;
        let open = Consuming::begin(link, channel, queue.clone(), self.prefetch).await?;
        Ok(Box::new(Local { queue, open }))
    }

    async fn connect(&self) -> Result<(Link, Channel), BrokerError> {
        let link = Link::open(&self.addresses, self.node, &self.name).await?;
        let channel = link.channel().await?;
        Ok((link, channel))
    }

    /// Closes the connection of a queue, then keeps requests from the queue, so that none is lost
    /// when RabbitMQ deletes it. Retries until RabbitMQ responds, since a durable queue and its
    /// binding outlive a restart of RabbitMQ.
    async fn remove(mut self, Local { queue, open }: Local) {
        // The connection first, since its consumer still receives requests. Without a majority of
        // nodes, RabbitMQ does not finish removing the queue, and then not closing either.
        open.link.close().await;
        let mut backoff = Backoff::over(&self.addresses);
        while let Err(error) = self.unbind_over_a_new_connection(&queue).await {
            tracing::debug!(partition = self.partition, %error, "cannot unbind {queue}; retrying");
            self.node += 1;
            sleep(backoff.wait()).await;
        }
    }

    async fn unbind_over_a_new_connection(&self, queue: &str) -> Result<(), BrokerError> {
        let (link, channel) = self.connect().await?;
        let unbound = self.unbind(&channel, queue).await;
        link.close().await;
        match unbound {
            Err(BrokerError::NotFound(_) | BrokerError::AccessRefused(_)) => Ok(()),
            unbound => unbound,
        }
    }

    async fn unbind(&self, channel: &Channel, queue: &str) -> Result<(), BrokerError> {
        remove_local_queue(channel, &self.names, self.partition, queue).await
    }
}
