//! One consumer of a log, on a connection of its own.

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};

use super::{entry::LogDelivery, from::LogFrom};
use crate::broker::{
    BrokerError, Connection,
    connect::{Endpoint, within},
    delivery::offset,
};

/// A consumer, its channel and its connection. It acknowledges a quarter of the prefetch at once:
/// acks of a stream only grant the broker credit.
pub(super) struct LogConsumer {
    consumer: Consumer,
    channel: Channel,
    /// Closes the connection when dropped.
    _connection: Connection,
    queue: String,
    last_tag: u64,
    unacked: u16,
    ack_every: u16,
}

/// Consumes from the log's end, to test whether RabbitMQ can serve the log at all. Error 541 here
/// is returned as a lost connection.
pub(super) async fn control(endpoint: Endpoint, queue: String) -> Result<(), BrokerError> {
    let ended = LogConsumer::open(endpoint, queue, LogFrom::Next, 1).await;
    match ended {
        Ok(_) => Ok(()),
        Err(BrokerError::Internal(text)) => Err(BrokerError::Lost(text)),
        Err(error) => Err(error),
    }
}

/// A connection whose channel does not consume yet.
pub(super) struct Prepared {
    connection: Connection,
    channel: Channel,
    prefetch: u16,
}

impl Prepared {
    pub(super) async fn open(endpoint: Endpoint, prefetch: u16) -> Result<Self, BrokerError> {
        // Error 541 before consuming is not caused by an entry.
        let lost = |error| match error {
            BrokerError::Internal(text) => BrokerError::Lost(text),
            error => error,
        };
        let connection = endpoint.open().await.map_err(lost)?;
        let channel = connection.channel().await.map_err(lost)?;
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        within("setting the prefetch", qos).await.map_err(lost)?;
        Ok(Self {
            connection,
            channel,
            prefetch,
        })
    }
}

impl LogConsumer {
    pub(super) async fn open(
        endpoint: Endpoint,
        queue: String,
        from: LogFrom,
        prefetch: u16,
    ) -> Result<Self, BrokerError> {
        Self::attach(Prepared::open(endpoint, prefetch).await?, queue, from).await
    }

    pub(super) async fn attach(
        prepared: Prepared,
        queue: String,
        from: LogFrom,
    ) -> Result<Self, BrokerError> {
        let Prepared {
            connection,
            channel,
            prefetch,
        } = prepared;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), from.argument());
        let consume = channel.basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            arguments,
        );
        let consumer = within("attaching to the log", consume).await?;
        Ok(Self {
            consumer,
            channel,
            _connection: connection,
            queue,
            last_tag: 0,
            unacked: 0,
            ack_every: (prefetch / 4).max(1),
        })
    }

    /// The next entry. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<LogDelivery, BrokerError> {
        let delivered = self.consumer.next().await;
        self.take(delivered)
    }

    pub(super) fn try_next(&mut self) -> Result<Option<LogDelivery>, BrokerError> {
        match self.consumer.next().now_or_never() {
            None => Ok(None),
            Some(delivered) => self.take(delivered).map(Some),
        }
    }

    fn take(
        &mut self,
        delivered: Option<lapin::Result<Delivery>>,
    ) -> Result<LogDelivery, BrokerError> {
        let Some(delivery) = delivered else {
            return Err(BrokerError::Cancelled(self.queue.clone()));
        };
        let delivery = delivery?;
        let Some(offset) = offset(&delivery) else {
            return Err(BrokerError::Precondition(format!(
                "{} is not a stream queue: its messages have no offset",
                self.queue
            )));
        };
        self.last_tag = delivery.delivery_tag;
        self.unacked += 1;
        if self.unacked >= self.ack_every {
            self.ack();
        }
        Ok(LogDelivery { offset, delivery })
    }

    pub(super) fn ack(&mut self) {
        if self.unacked > 0 {
            self.unacked = 0;
            let options = BasicAckOptions { multiple: true };
            // The first poll hands the ack to the connection; there is nothing to wait for.
            let _ = self
                .channel
                .basic_ack(self.last_tag, options)
                .now_or_never();
        }
    }
}
