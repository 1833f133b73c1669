//! The ring: which partition a hash of the account leads to, and the entrance to it.
//!
//! RabbitMQ forgets both when the last node of a cluster stops, see `shape`. Until they are opened
//! again, it refuses what has the header `account`: none of it goes astray, and none is confirmed
//! that is not in its log.

use std::time::Duration;

use futures_util::{TryStreamExt, stream};
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use tokio::time::Instant;

use super::{
    declare::one,
    shape::{opened_entrance, ring},
};
use crate::{
    broker::{Addresses, BrokerError, Link, Names, append_once::OneShotAppender, connect::within},
    domain::Internal,
};

/// How often to ask for the lock while another worker binds.
const WAIT: Duration = Duration::from_millis(100);
/// How long to wait for the lock at most. Binding takes less than a second; where RabbitMQ has
/// Khepri, a lock whose node has died stays locked until that node is back.
const LOCKED_AT_MOST: Duration = Duration::from_secs(5);
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
    lock(&link, names).await?;
    let channel = link.channel().await?;
    for part in ring(names, partitions) {
        one(&channel, part).await?;
    }
    one(&channel, opened_entrance(names)).await?;
    link.close().await;
    Ok(())
}

/// Declares an exclusive queue, so that one worker binds at a time: partitions must be bound in
/// their order, and of two that bind at once RabbitMQ may answer one before the other's binding is
/// in the ring. The lock ends with the connection.
async fn lock(link: &Link, names: &Names) -> Result<(), BrokerError> {
    let name = names.ring_lock();
    let deadline = Instant::now() + LOCKED_AT_MOST;
    loop {
        let channel = link.channel().await?;
        let options = QueueDeclareOptions::exclusive();
        let declared = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
        match within("locking the ring", declared).await {
            Ok(_) => return Ok(()),
            Err(BrokerError::Locked(_)) if Instant::now() < deadline => {
                tokio::time::sleep(WAIT).await;
            }
            Err(BrokerError::Locked(_)) => {
                tracing::warn!("{name} stays locked; binding the partitions without it");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
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
        let mut scribe = OneShotAppender::new(link, &queue).await?;
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
