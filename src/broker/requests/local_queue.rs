//! A worker's local queue of `status` requests in RabbitMQ: declared and bound, bound again, and
//! unbound once it is not consumed any more.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::connection::Consuming;
use crate::broker::{
    BrokerError, Endpoint, Names,
    topology::{StatusRouting, add_local_queue, bind_local_queue, remove_local_queue},
};

/// Interval at which a worker binds its queue again.
const REBINDING: Duration = Duration::from_secs(20);
/// Time to unbind a queue while a worker shuts down. The delivered requests wait meanwhile, and a node
/// without a majority does not respond.
const UNBINDING: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct LocalQueueSpec {
    pub(super) endpoint: Endpoint,
    pub(super) names: Names,
    pub(super) partition: u16,
    pub(super) prefetch: u16,
}

pub(super) struct LocalQueue {
    /// Its number, unique in the installation.
    pub(super) number: u64,
    pub(super) open: Consuming,
    bound_at: Instant,
    binding: Option<JoinHandle<()>>,
}

impl LocalQueueSpec {
    pub(super) fn queue(&self, number: u64) -> String {
        self.names.local_status_queue(self.partition, number)
    }

    /// Opens a connection, declares the queue `number` there, and consumes it.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the broker has no exchange for local queues.
    pub(super) async fn open(&self, number: u64) -> Result<Box<LocalQueue>, BrokerError> {
        let (connection, channel) = self.endpoint.open_channel().await?;
        if StatusRouting::of(&connection).await? == StatusRouting::Shared {
            // RabbitMQ 3 would refuse the queue's arguments.
            return Err(BrokerError::NotFound(self.names.status(self.partition)));
        }
        let queue = self.queue(number);
        add_local_queue(&channel, &self.names, self.partition, &queue).await?;
        let open = Consuming::begin(connection, channel, queue, self.prefetch, true).await?;
        Ok(Box::new(LocalQueue {
            number,
            open,
            bound_at: Instant::now(),
            binding: None,
        }))
    }

    /// Closes the connection of a queue, then unbinds it.
    pub(super) async fn remove(self, queue: LocalQueue) {
        // The connection first, since its consumer still receives requests. Without a majority of
        // nodes, RabbitMQ does not finish removing the queue, and then not closing either.
        queue.open.connection.close().await;
        self.unbind(vec![queue.number]).await;
    }

    /// Keeps requests from these queues, so that none is lost when RabbitMQ deletes a queue.
    /// Retries until RabbitMQ responds, since a durable queue and its binding outlive a restart of
    /// RabbitMQ.
    pub(super) async fn unbind(mut self, mut numbers: Vec<u64>) {
        let mut backoff = self.endpoint.backoff();
        while let Err(error) = self.unbind_over_a_new_connection(&mut numbers).await {
            let partition = self.partition;
            tracing::debug!(partition, %error, "cannot unbind a local queue; retrying");
            self.endpoint.move_on();
            sleep(backoff.wait()).await;
        }
    }

    /// Unbinds queues, and removes their numbers from the list.
    async fn unbind_over_a_new_connection(
        &self,
        numbers: &mut Vec<u64>,
    ) -> Result<(), BrokerError> {
        let connection = self.endpoint.open().await?;
        let mut unbound = Ok(());
        while let Some(&number) = numbers.last() {
            // An error closes the channel.
            unbound = match connection.channel().await {
                Ok(channel) => {
                    let queue = self.queue(number);
                    remove_local_queue(&channel, &self.names, self.partition, &queue).await
                }
                Err(error) => Err(error),
            };
            match unbound {
                Err(BrokerError::NotFound(_) | BrokerError::AccessRefused(_)) => unbound = Ok(()),
                Err(_) => break,
                Ok(()) => {}
            }
            numbers.pop();
        }
        connection.close().await;
        unbound
    }
}

impl LocalQueue {
    /// Binds the queue again from time to time, in the background: another worker has unbound it if
    /// this one stood still for long, and an operator may have declared its exchange anew.
    pub(super) fn maintain(&mut self, spec: &LocalQueueSpec) {
        if self.bound_at.elapsed() < REBINDING {
            return;
        }
        self.bound_at = Instant::now();
        let opening = self.open.connection.channel_later();
        let (spec, queue) = (spec.clone(), spec.queue(self.number));
        self.binding = Some(tokio::spawn(async move {
            // On a channel of its own, since an error closes it.
            let bound = match opening.await {
                Ok(channel) => {
                    bind_local_queue(&channel, &spec.names, spec.partition, &queue).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = bound {
                tracing::debug!(partition = spec.partition, %error, "cannot bind {queue} again");
            }
        }));
    }

    /// Unbinds the queue while its delivered requests can still be acknowledged. Gives up after 1 s.
    pub(super) async fn unbind(&mut self, spec: &LocalQueueSpec) {
        let binding = self.binding.take();
        let unbinding = async {
            if let Some(binding) = binding {
                let _ = binding.await;
            }
            let queue = spec.queue(self.number);
            remove_local_queue(&self.open.channel, &spec.names, spec.partition, &queue).await
        };
        let _ = timeout(UNBINDING, unbinding).await;
    }
}
