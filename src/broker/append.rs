//! Appending entries to a log, with confirms.

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};

use super::{BrokerError, Link, connect::within};
use crate::wire::APP_ID;

/// How long a confirm may take. A log that has lost its majority gives none at all.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);
/// Most entries appended and not confirmed.
const MOST_UNCONFIRMED: usize = 10_000;

/// What became of an appended entry.
#[derive(Clone, Debug)]
pub enum Appended {
    /// It is in the log.
    Confirmed,
    /// It is not, or nobody knows.
    Failed,
    /// The connection is gone, and with it the knowledge.
    Lost(BrokerError),
}

type Outcome = Pin<Box<dyn Future<Output = (u64, Appended)> + Send>>;

/// Appends to one log through the default exchange, which players may not publish to.
pub struct Appender {
    channel: Channel,
    queue: ShortString,
    unconfirmed: FuturesUnordered<Outcome>,
}

impl Appender {
    /// An appender to the log `queue`.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn new(link: &Link, queue: &str) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        within("asking for confirms", confirms).await?;
        Ok(Self {
            channel,
            queue: queue.into(),
            unconfirmed: FuturesUnordered::new(),
        })
    }

    /// Appends an entry; [`Self::next`] says under `number` what became of it. Does not wait.
    /// Entries go out in the order of the calls. Returns false, and appends nothing, where too many
    /// are unconfirmed.
    pub fn append(&mut self, number: u64, kind: &'static str, body: Vec<u8>) -> bool {
        if self.unconfirmed.len() >= MOST_UNCONFIRMED {
            return false;
        }
        let (channel, queue) = (self.channel.clone(), self.queue.clone());
        let mut outcome: Outcome = Box::pin(async move {
            let properties = BasicProperties::default()
                .with_type(kind.into())
                .with_app_id(APP_ID.into())
                .with_content_type("application/json".into())
                .with_delivery_mode(2);
            // Mandatory: a log that is not there must not look like one that took the entry.
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let confirmed = async {
                channel
                    .basic_publish("".into(), queue, options, &body, properties)
                    .await?
                    .await
            };
            let appended = match tokio::time::timeout(CONFIRM_WITHIN, confirmed).await {
                Ok(Ok(Confirmation::Ack(None))) => Appended::Confirmed,
                Ok(Ok(_)) | Err(_) => Appended::Failed,
                Ok(Err(error)) => Appended::Lost(error.into()),
            };
            (number, appended)
        });
        // The first poll hands the message to the connection, in order.
        match (&mut outcome).now_or_never() {
            Some(done) => self.unconfirmed.push(Box::pin(std::future::ready(done))),
            None => self.unconfirmed.push(outcome),
        }
        true
    }

    /// What became of the next entry. Pending for ever while there is none. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> (u64, Appended) {
        if self.unconfirmed.is_empty() {
            std::future::pending::<()>().await;
        }
        match self.unconfirmed.next().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }
}
