//! Appending entries to a log, with confirms.

use lapin::{Channel, Confirmation, types::ShortString};

use super::{
    BrokerError, Link,
    properties::ours,
    unconfirmed::{CONFIRM_WITHIN, Unconfirmed, confirming, publish},
};

/// Most entries appended and not confirmed.
const MOST_UNCONFIRMED: usize = 10_000;

/// The outcome of an appended entry.
#[derive(Clone, Debug)]
pub enum Appended {
    /// It is in the log.
    Confirmed,
    /// It is not in the log, or the outcome is unknown.
    Failed,
    /// The connection was lost, so the outcome is unknown.
    Lost(BrokerError),
}

/// Appends to one log through the default exchange, which players may not publish to.
pub struct Appender {
    channel: Channel,
    queue: ShortString,
    content_type: &'static str,
    unconfirmed: Unconfirmed<(u64, Appended)>,
}

impl Appender {
    /// An appender of JSON to the log `queue`.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn new(link: &Link, queue: &str) -> Result<Self, BrokerError> {
        Self::of(link, queue, "application/json").await
    }

    /// The same for other content.
    pub(super) async fn of(
        link: &Link,
        queue: &str,
        content_type: &'static str,
    ) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: confirming(link).await?,
            queue: queue.into(),
            content_type,
            unconfirmed: Unconfirmed::new(),
        })
    }

    /// Appends an entry without waiting; [`Self::next`] returns the outcome with `number`. Entries
    /// are written in the order of the calls. Returns false, without appending, if too many are
    /// unconfirmed.
    pub fn append(&mut self, number: u64, kind: &'static str, body: Vec<u8>) -> bool {
        if self.unconfirmed.len() >= MOST_UNCONFIRMED {
            return false;
        }
        let (channel, queue) = (self.channel.clone(), self.queue.clone());
        let content_type = self.content_type;
        self.unconfirmed.begin(async move {
            let properties = ours(kind)
                .with_content_type(content_type.into())
                .with_delivery_mode(2);
            let confirmed = publish(&channel, "".into(), queue, &body, properties);
            let appended = match tokio::time::timeout(CONFIRM_WITHIN, confirmed).await {
                Ok(Ok(Confirmation::Ack(None))) => Appended::Confirmed,
                Ok(Ok(_)) | Err(_) => Appended::Failed,
                Ok(Err(error)) => Appended::Lost(error.into()),
            };
            (number, appended)
        });
        true
    }

    /// Waits until no entry is unconfirmed, or the connection is gone.
    pub async fn settle(&mut self) {
        while self.unconfirmed.len() > 0 && !matches!(self.next().await, (_, Appended::Lost(_))) {}
    }

    /// Returns the outcome of the next entry. Pending while there is none. Cancel safe.
    pub async fn next(&mut self) -> (u64, Appended) {
        self.unconfirmed.next().await
    }
}
