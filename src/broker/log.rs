//! Following a log (RabbitMQ: stream).

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};

use super::{
    BrokerError, Link, Names, NoReply, ReplyTo,
    connect::within,
    delivery::{message, offset, reply_to},
};
use crate::wire::Message;

/// Entries under way to us at once. A quarter of them is acknowledged together: acks only give the
/// broker credit to send more.
const PREFETCH: u16 = 2_000;

/// Where to read a log from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Its oldest entry.
    First,
    /// Its last chunk of entries.
    Last,
    /// The entries that come from now on.
    Next,
    /// This offset.
    Offset(u64),
    /// About so long ago.
    Ago(Duration),
}

impl From {
    fn argument(self) -> AMQPValue {
        match self {
            Self::First => AMQPValue::LongString("first".into()),
            Self::Last => AMQPValue::LongString("last".into()),
            Self::Next => AMQPValue::LongString("next".into()),
            Self::Offset(offset) => {
                AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX))
            }
            Self::Ago(ago) => AMQPValue::LongString(format!("{}s", ago.as_secs()).into()),
        }
    }
}

/// One entry as it was delivered.
#[derive(Debug)]
pub struct LogDelivery {
    /// Its place.
    pub offset: u64,
    delivery: Delivery,
}

impl LogDelivery {
    /// What the contract reads of it.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        message(&self.delivery)
    }

    /// Where to answer it.
    ///
    /// # Errors
    /// Where it cannot be answered.
    pub fn reply_to(&self, names: &Names) -> Result<ReplyTo, NoReply> {
        reply_to(&self.delivery, names)
    }
}

/// A consumer of one log.
pub struct LogFollower {
    channel: Channel,
    consumer: Consumer,
    queue: String,
    last_tag: u64,
    unacked: u16,
    ack_every: u16,
}

impl LogFollower {
    /// Attaches to the log `queue`.
    ///
    /// # Errors
    /// `NotFound` where there is no such log, `Precondition` where this node has no replica of it.
    pub async fn attach(link: &Link, queue: &str, from: From) -> Result<Self, BrokerError> {
        Self::attach_with(link, queue, from, PREFETCH).await
    }

    pub(super) async fn attach_with(
        link: &Link,
        queue: &str,
        from: From,
        prefetch: u16,
    ) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        within("setting the prefetch", qos).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), from.argument());
        let consume = channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            arguments,
        );
        let consumer = within("attaching to the log", consume).await?;
        Ok(Self {
            channel,
            consumer,
            queue: queue.to_owned(),
            last_tag: 0,
            unacked: 0,
            ack_every: (prefetch / 4).max(1),
        })
    }

    /// The next entry. Dropping the future loses none.
    ///
    /// # Errors
    /// Where the connection is lost, or the log deleted.
    pub async fn next(&mut self) -> Result<LogDelivery, BrokerError> {
        let delivered = self.consumer.next().await;
        self.take(delivered)
    }

    /// The next entry, if it has been delivered.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn try_next(&mut self) -> Result<Option<LogDelivery>, BrokerError> {
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

    /// Acknowledges all that was taken. Call it on a timer too: RabbitMQ closes the channel of a
    /// consumer that leaves a delivery unacknowledged for half an hour.
    pub fn ack(&mut self) {
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
