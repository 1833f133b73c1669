//! Reading a log up to its present end, which a marker entry shows, and beyond.

use std::time::Duration;

use super::{
    BrokerError, Connection, LogEntry, LogFollower, LogFrom, connect::in_time,
    one_shot_appender::OneShotAppender,
};
use crate::{
    domain::{Entry, EntryId, Internal, InternalEntry},
    wire,
};

/// Longest wait for an entry: the marker, at least, is still to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reader of a log at whose end a marker was appended.
pub(super) struct BoundedLog {
    follower: LogFollower,
}

impl BoundedLog {
    /// Attaches to the log `queue`, and appends a marker at its end. Returns the marker's id.
    pub(super) async fn open(
        connection: &Connection,
        queue: &str,
        from: LogFrom,
    ) -> Result<(Self, EntryId), BrokerError> {
        let mut appender = OneShotAppender::new(connection, queue).await?;
        let follower = LogFollower::attach(connection, queue, from).await?;
        // Appended after attaching: the last chunk could otherwise come after the marker.
        let end = appender.append(Internal::Tick(None)).await?;
        Ok((Self { follower }, end))
    }

    /// Reads the next entry: its offset, and its content unless it is a player's. Times out after
    /// 20 s without an entry.
    pub(super) async fn entry(&mut self) -> Result<(u64, Option<InternalEntry>), BrokerError> {
        let delivery = in_time("reading the log", PATIENCE, self.follower.next());
        let delivery = match delivery.await?? {
            LogEntry::Delivered(delivery) => delivery,
            LogEntry::Undeliverable(offset) => return Ok((offset, None)),
        };
        self.follower.ack();
        // A player's invalid event does not concern an operator.
        let internal = match wire::entry(&delivery.message()) {
            Ok(Entry::Internal(entry)) => Some(entry),
            _ => None,
        };
        Ok((delivery.offset, internal))
    }
}
