//! Entries that cannot be read: AMQP's short strings may hold any bytes, but lapin takes only UTF-8,
//! and closes the connection.

use std::time::Duration;

use super::{BrokerError, Link, LogFollower, LogFrom, scribe::Scribe};
use crate::{
    domain::{Entry, Internal},
    wire,
};

/// How long looking for an unreadable entry may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Finds the entry behind `after` that cannot be read. Reads entry by entry, up to where the log
/// ends now: `None` where all of it is readable.
///
/// # Errors
/// Where the connection is lost for another reason, or it takes longer than 10 s.
pub async fn find_unreadable(
    link: &Link,
    queue: &str,
    after: Option<u64>,
) -> Result<Option<u64>, BrokerError> {
    let looking = look(link, queue, after);
    tokio::time::timeout(PATIENCE, looking)
        .await
        .map_err(|_| BrokerError::Timeout {
            doing: "looking for an unreadable entry",
            waited: PATIENCE,
        })?
}

async fn look(link: &Link, queue: &str, after: Option<u64>) -> Result<Option<u64>, BrokerError> {
    let mut next = after.map_or(0, |offset| offset + 1);
    let from = after.map_or(LogFrom::First, |_| LogFrom::Offset(next));
    // Before the log is attached: its first delivery may be the one that ends the connection.
    let end = Scribe::new(link, queue)
        .await?
        .append(&Internal::Tick(None))
        .await?;
    let mut follower = LogFollower::attach_with(link, queue, from, 1).await?;
    loop {
        match follower.next().await {
            Ok(delivery) => {
                next = next.max(delivery.offset + 1);
                if let Ok(Entry::Internal { mark, .. }) = wire::entry(&delivery.message())
                    && mark == end
                {
                    return Ok(None);
                }
            }
            Err(BrokerError::Unreadable(_)) => return Ok(Some(next)),
            Err(error) => return Err(error),
        }
    }
}
