//! Published messages, until the broker confirms them.

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};

use super::{BrokerError, Connection, connect::within};

/// Longest wait for a confirm. A log without a majority of its nodes never confirms.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn confirming(connection: &Connection) -> Result<Channel, BrokerError> {
    with_confirms(connection.channel().await?).await
}

pub(super) async fn with_confirms(channel: Channel) -> Result<Channel, BrokerError> {
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    within("asking for confirms", confirms).await?;
    Ok(channel)
}

/// An exchange and a routing key.
pub(super) type Destination = (ShortString, ShortString);

/// Publishes a message, and waits for the confirm. If the message is `mandatory` and no queue takes
/// it, the broker returns it within the confirm.
pub(super) async fn publish(
    channel: &Channel,
    to: Destination,
    body: &[u8],
    properties: BasicProperties,
    mandatory: bool,
) -> lapin::Result<Confirmation> {
    write(channel, to, body, properties, mandatory).await?.await
}

/// Publishes a message as [`publish`] does, but waits only until it is written to the socket. The
/// result is the future confirm.
pub(super) async fn write(
    channel: &Channel,
    (exchange, key): Destination,
    body: &[u8],
    properties: BasicProperties,
    mandatory: bool,
) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory,
        ..BasicPublishOptions::default()
    };
    let published = channel.basic_publish(exchange, key, options, body, properties);
    published.await
}

pub(super) type Publishing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Starts a publishing. The first poll hands the message to the connection, so messages are
/// published in the order of calls.
pub(super) fn begin<T: Send + 'static>(
    publishing: impl Future<Output = T> + Send + 'static,
) -> Publishing<T> {
    let mut publishing: Publishing<T> = Box::pin(publishing);
    match (&mut publishing).now_or_never() {
        Some(done) => Box::pin(std::future::ready(done)),
        None => publishing,
    }
}

/// Publishings without an outcome yet; each resolves to a `T`.
pub(super) struct Unconfirmed<T>(FuturesUnordered<Publishing<T>>);

impl<T: Send + 'static> Unconfirmed<T> {
    pub(super) fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn begin(&mut self, publishing: impl Future<Output = T> + Send + 'static) {
        self.0.push(begin(publishing));
    }

    /// The next outcome. Pending while there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> T {
        match self.0.next().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }
}
