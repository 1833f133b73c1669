//! Reading a log from somewhere up to where it ends just now, and beyond.

use std::time::Duration;

use super::{BrokerError, Link, LogEntry, LogFollower, LogFrom, append_once::OneShotAppender};
use crate::{
    domain::{Entry, Internal, Mark, Reading},
    wire,
};

/// How long the log may deliver nothing before its end is reached.
const PATIENCE: Duration = Duration::from_secs(20);

/// A log that is read, with its end marked.
pub(super) struct BoundedLog {
    follower: LogFollower,
}

/// An entry that a worker or an operator wrote.
pub(super) struct Marker {
    pub(super) mark: Mark,
    pub(super) reading: Option<Reading>,
    pub(super) body: Internal,
}

impl BoundedLog {
    /// Attaches to the log `queue`, and appends a marker at its end.
    pub(super) async fn open(
        link: &Link,
        queue: &str,
        from: LogFrom,
    ) -> Result<(Self, Mark), BrokerError> {
        let mut scribe = OneShotAppender::new(link, queue).await?;
        let follower = LogFollower::attach(link, queue, from).await?;
        // Written once the log is attached: the last chunk may be one that came after it.
        let end = scribe.append(&Internal::Tick(None)).await?;
        Ok((Self { follower }, end))
    }

    /// Reads the next entry, which exists until the marker was read. Returns its offset, and its
    /// content if it is internal.
    pub(super) async fn entry(&mut self) -> Result<(u64, Option<Marker>), BrokerError> {
        let delivery = tokio::time::timeout(PATIENCE, self.follower.next())
            .await
            .map_err(|_| BrokerError::Timeout {
                doing: "reading the log",
                waited: PATIENCE,
            })??;
        let delivery = match delivery {
            LogEntry::Delivered(delivery) => delivery,
            LogEntry::Undeliverable(offset) => return Ok((offset, None)),
        };
        self.follower.ack();
        // A player's bad event is not an operator's concern.
        let marked = match wire::entry(&delivery.message()) {
            Ok(Entry::Internal {
                mark,
                reading,
                body,
            }) => Some(Marker {
                mark,
                reading,
                body,
            }),
            _ => None,
        };
        Ok((delivery.offset, marked))
    }
}
