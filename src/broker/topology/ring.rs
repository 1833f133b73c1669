//! The ring: which partition a hash of the account leads to, and the entrance to it.
//!
//! RabbitMQ forgets both when the last node of a cluster stops, see `shape`. Until they are opened
//! again, it refuses what has the header `account`: none of it goes astray, and none is confirmed
//! that is not in its log.

use std::time::Duration;

use futures_util::{TryStreamExt, stream};
use tokio::time::Instant;

use super::{
    declare::one,
    shape::{opened_entrance, ring},
};
use crate::{
    broker::{Addresses, BrokerError, Lease, Link, Names, scribe::Scribe},
    domain::Internal,
};

/// How long to wait while another worker builds.
const WAIT: Duration = Duration::from_millis(100);
/// How long to wait for logs that take no entry: one that has lost its majority must not keep the
/// others closed.
const OPEN_AFTER: Duration = Duration::from_secs(30);
/// How soon to ask a log again.
const AGAIN: Duration = Duration::from_millis(250);
/// Logs that are asked at once.
const AT_ONCE: usize = 8;

/// Opens the partitions to messages with the header `account`, where they are not open: for workers
/// that begin, and for operators who declare.
///
/// Waits for the logs: what a channel publishes to several logs that have no leader yet, RabbitMQ
/// before 4.0 may confirm and drop.
///
/// # Errors
/// [`BrokerError::NoPlugin`] where RabbitMQ lacks it, `NotFound` where a partition is missing.
pub async fn open_partitions(
    addresses: &Addresses,
    names: &Names,
    partitions: u16,
) -> Result<(), BrokerError> {
    let link = Link::open_any(addresses, "streamwatch, opening the partitions").await?;
    let deadline = Instant::now() + OPEN_AFTER;
    stream::iter((0..partitions).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |partition| {
            takes_entries(&link, names, partition, deadline)
        })
        .await?;
    // One at a time, and on a connection of its own that the lock ends with: partitions must be
    // bound in their order, and of two who bind at once one may be told too early that it is done.
    let mut lock = Lease::default();
    while !lock.try_take(&link, &names.ring_lock()).await? {
        tokio::time::sleep(WAIT).await;
    }
    let channel = link.channel().await?;
    for part in ring(names, partitions) {
        one(&channel, part).await?;
    }
    one(&channel, opened_entrance(names)).await?;
    link.close().await;
    Ok(())
}

/// Waits until a log confirms an entry, or until the deadline.
async fn takes_entries(
    link: &Link,
    names: &Names,
    partition: u16,
    deadline: Instant,
) -> Result<(), BrokerError> {
    let queue = names.log(partition);
    loop {
        let mut scribe = Scribe::new(link, &queue).await?;
        let asked = scribe.append(&Internal::Tick(None));
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(BrokerError::NotFound(_))) if Instant::now() + AGAIN < deadline => {
                tokio::time::sleep(AGAIN).await;
            }
            Ok(Err(BrokerError::NotFound(_))) | Err(_) => {
                tracing::error!(partition, "its log takes no entries; the others are opened");
                return Ok(());
            }
            Ok(Err(error)) => return Err(error),
        }
    }
}
