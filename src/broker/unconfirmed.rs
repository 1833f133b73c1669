//! Messages without a confirm, in the order of publication.

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};

use super::{BrokerError, Link, connect::within};

/// How long a confirm may take. A log that has lost its majority gives none at all.
pub(super) const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// A channel on which every publishing is confirmed.
pub(super) async fn confirming(link: &Link) -> Result<Channel, BrokerError> {
    let channel = link.channel().await?;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    within("asking for confirms", confirms).await?;
    Ok(channel)
}

/// Publishes a message, and waits for the broker's word. Mandatory: one that no queue takes comes
/// back within its confirm, and must not look like one that was taken.
pub(super) async fn publish(
    channel: &Channel,
    exchange: ShortString,
    key: ShortString,
    body: &[u8],
    properties: BasicProperties,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let published = channel.basic_publish(exchange, key, options, body, properties);
    published.await?.await
}

/// Publishes a message that may be unroutable.
pub(super) async fn publish_to_any(
    channel: &Channel,
    exchange: ShortString,
    key: ShortString,
    body: &[u8],
    properties: BasicProperties,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions::default();
    let published = channel.basic_publish(exchange, key, options, body, properties);
    published.await?.await
}

/// A publishing that has begun.
pub(super) type Publishing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Begins a publishing. The first poll hands the message to the connection: in the order of these
/// calls.
pub(super) fn begin<T: Send + 'static>(
    publishing: impl Future<Output = T> + Send + 'static,
) -> Publishing<T> {
    let mut publishing: Publishing<T> = Box::pin(publishing);
    match (&mut publishing).now_or_never() {
        Some(done) => Box::pin(std::future::ready(done)),
        None => publishing,
    }
}

/// The outcomes that are not known yet, each a `T` one day.
pub(super) struct Unconfirmed<T>(FuturesUnordered<Publishing<T>>);

impl<T: Send + 'static> Unconfirmed<T> {
    pub(super) fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Begins a publishing, in the order of these calls.
    pub(super) fn begin(&mut self, publishing: impl Future<Output = T> + Send + 'static) {
        self.0.push(begin(publishing));
    }

    /// The next outcome. Pending for ever while there is none. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> T {
        match self.0.next().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }
}
