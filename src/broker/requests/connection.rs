//! One connection that consumes a queue of requests.

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::sleep;

use super::RequestDelivery;
use crate::broker::{BrokerError, Connection, Endpoint, connect::within};

/// Time for a worker to acknowledge the requests of a cancelled consumer.
const LAST_ACKS: Duration = Duration::from_secs(1);

pub(super) enum RequestConnection {
    Opening(Opening),
    Consuming(Box<Consuming>),
}

type Opening = Pin<Box<dyn Future<Output = Result<Box<Consuming>, BrokerError>> + Send>>;

impl RequestConnection {
    pub(super) const fn is_consuming(&self) -> bool {
        matches!(self, Self::Consuming(_))
    }
}

pub(super) struct Consuming {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    pub(super) consumer: Consumer,
    /// The queue is a worker's local one.
    local: bool,
}

impl Consuming {
    /// Opens a connection, and consumes `queue` with at most `prefetch` unacknowledged requests.
    pub(super) async fn open(
        endpoint: Endpoint,
        queue: String,
        prefetch: u16,
    ) -> Result<Box<Self>, BrokerError> {
        let (connection, channel) = endpoint.open_channel().await?;
        Self::begin(connection, channel, queue, prefetch, false)
            .await
            .map(Box::new)
    }

    /// Consumes `queue` on `channel` with at most `prefetch` unacknowledged requests.
    pub(super) async fn begin(
        connection: Connection,
        channel: Channel,
        queue: String,
        prefetch: u16,
        local: bool,
    ) -> Result<Self, BrokerError> {
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        within("setting the prefetch", qos).await?;
        let options = BasicConsumeOptions::default();
        let consume =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let consumer = within("consuming requests", consume).await?;
        Ok(Self {
            connection,
            channel,
            consumer,
            local,
        })
    }

    pub(super) fn request(&self, delivery: Delivery) -> RequestDelivery {
        RequestDelivery {
            delivery,
            channel: self.channel.clone(),
            local: self.local,
        }
    }

    /// Cancels the consumer, and adds the requests already delivered to `delivered`. They can still
    /// be acknowledged.
    pub(super) async fn drain(
        &mut self,
        delivered: &mut Vec<RequestDelivery>,
    ) -> Result<(), BrokerError> {
        let cancelled = self.cancel().await;
        while let Some(Some(Ok(delivery))) = self.consumer.next().now_or_never() {
            delivered.push(self.request(delivery));
        }
        cancelled
    }

    /// Cancels the consumer. Requests that were delivered before can still be acknowledged.
    async fn cancel(&self) -> Result<(), BrokerError> {
        let options = BasicCancelOptions::default();
        let cancel = self.channel.basic_cancel(self.consumer.tag(), options);
        within("cancelling a consumer", cancel).await
    }

    /// Cancels the consumer, and closes the connection when its requests have been acknowledged.
    pub(super) async fn retire(self: Box<Self>) {
        if self.cancel().await.is_ok() {
            sleep(LAST_ACKS).await;
        }
        self.connection.close().await;
    }
}
