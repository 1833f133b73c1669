//! Appending single entries to a log: an operator's settings, and markers of a log's end.

use super::{Appender, BrokerError, Connection};
use crate::domain::{EntryId, Internal, InternalEntry};

/// A short-lived appender that waits for each confirm.
pub(super) struct OneShotAppender {
    appender: Appender,
    entry_id: EntryId,
}

impl OneShotAppender {
    pub(super) async fn new(connection: &Connection, queue: &str) -> Result<Self, BrokerError> {
        Ok(Self {
            appender: Appender::new(connection, queue).await?,
            entry_id: EntryId {
                writer: uuid::Uuid::new_v4().as_u64_pair().0,
                seq: 0,
            },
        })
    }

    /// Appends an entry, and waits for its confirm. Returns the entry's id.
    pub(super) async fn append(&mut self, body: Internal) -> Result<EntryId, BrokerError> {
        self.entry_id.seq += 1;
        let entry = InternalEntry {
            entry_id: self.entry_id,
            writer_state: None,
            body,
        };
        self.appender.append_entry(&entry);
        self.appender.next().await.1.confirmed()?;
        Ok(self.entry_id)
    }
}
