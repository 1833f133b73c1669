//! Appending entries to a log, with confirms.

use lapin::{Channel, Confirmation, types::ShortString};

use super::{
    BrokerError, Connection,
    properties::worker_properties,
    unconfirmed::{CONFIRM_WITHIN, Unconfirmed, confirming, publish},
};
use crate::{domain::InternalEntry, wire};

const MOST_UNCONFIRMED: usize = 10_000;

/// The outcome of an appended entry.
#[derive(Clone, Debug)]
pub enum Appended {
    /// The entry is in the log.
    Confirmed,
    /// The entry is not in the log.
    Failed,
    /// The entry was not confirmed within [`CONFIRM_WITHIN`]; it may be in the log.
    TimedOut,
    /// The connection is lost; the entry may be in the log.
    Lost(BrokerError),
}

impl Appended {
    /// Whether the entry is in the log.
    ///
    /// # Errors
    /// `NotFound` if RabbitMQ has rejected the entry, [`BrokerError::Timeout`] if it has not
    /// confirmed it.
    pub fn confirmed(self) -> Result<(), BrokerError> {
        match self {
            Self::Confirmed => Ok(()),
            Self::Lost(error) => Err(error),
            Self::Failed => Err(BrokerError::NotFound(
                "the log takes no entries: it does not exist, or has no leader".to_owned(),
            )),
            Self::TimedOut => Err(BrokerError::Timeout {
                doing: "confirming an entry of the log (check that a majority of its nodes runs)",
                waited: CONFIRM_WITHIN,
            }),
        }
    }
}

/// Appends entries to one log through the default exchange, which players may not publish to.
pub struct Appender {
    channel: Channel,
    queue: ShortString,
    content_type: &'static str,
    unconfirmed: Unconfirmed<(u64, Appended)>,
}

impl Appender {
    /// Opens an appender of JSON entries to the log `queue`.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn new(connection: &Connection, queue: &str) -> Result<Self, BrokerError> {
        Self::of(connection, queue, "application/json").await
    }

    pub(super) async fn of(
        connection: &Connection,
        queue: &str,
        content_type: &'static str,
    ) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: confirming(connection).await?,
            queue: queue.into(),
            content_type,
            unconfirmed: Unconfirmed::new(),
        })
    }

    /// Appends an internal entry as [`Self::append`] does, under its `seq`.
    pub fn append_entry(&mut self, entry: &InternalEntry) -> bool {
        let kind = wire::internal_kind(&entry.body);
        self.append(entry.entry_id.seq, kind, wire::encode_internal(entry))
    }

    /// Appends an entry without waiting; [`Self::next`] returns its outcome under `number`. Entries
    /// are published in the order of calls. Returns false, and appends nothing, if too many entries
    /// are unconfirmed.
    pub fn append(&mut self, number: u64, kind: &'static str, body: Vec<u8>) -> bool {
        if self.unconfirmed.len() >= MOST_UNCONFIRMED {
            return false;
        }
        let (channel, queue) = (self.channel.clone(), self.queue.clone());
        let content_type = self.content_type;
        self.unconfirmed.begin(async move {
            let properties = worker_properties(kind)
                .with_content_type(content_type.into())
                .with_delivery_mode(2);
            let confirmed = publish(&channel, ("".into(), queue), &body, properties, true);
            let appended = match tokio::time::timeout(CONFIRM_WITHIN, confirmed).await {
                Ok(Ok(Confirmation::Ack(None))) => Appended::Confirmed,
                Ok(Ok(_)) => Appended::Failed,
                Err(_) => Appended::TimedOut,
                Ok(Err(error)) => Appended::Lost(error.into()),
            };
            (number, appended)
        });
        true
    }

    /// Waits until every entry is confirmed or has failed, or the connection is lost.
    pub async fn settle(&mut self) {
        while self.unconfirmed.len() > 0 && !matches!(self.next().await, (_, Appended::Lost(_))) {}
    }

    /// The outcome of the next entry. Pending while no entry is unconfirmed. Cancel safe.
    pub async fn next(&mut self) -> (u64, Appended) {
        self.unconfirmed.next().await
    }
}
