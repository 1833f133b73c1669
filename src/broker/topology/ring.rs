//! The ring: the bindings from the hash of an account to its partition, and the binding from the
//! entrance to the ring.
//!
//! RabbitMQ drops both when the last node of a cluster stops; see [`super::components::ring`].
//! Until a worker binds them again, RabbitMQ rejects messages with the header `account`. So no
//! message goes to another partition, and none is confirmed that is not in its log.

use std::time::Duration;

use futures_util::{TryStreamExt, stream};
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use tokio::time::Instant;

use super::components::{entrance_binding, ring};
use crate::{
    broker::{
        Addresses, BrokerError, Connection, Names, connect::within,
        one_shot_appender::OneShotAppender,
    },
    domain::Internal,
};

/// Interval of attempts to take the lock.
const LOCK_EVERY: Duration = Duration::from_millis(100);
/// Longest wait for the lock. Binding takes less than a second. With Khepri, a lock on a node that
/// failed stays locked until the node is back.
const LOCK_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for logs that do not confirm entries. A log without a majority of its nodes must
/// not keep other partitions closed.
const LOGS_WITHIN: Duration = Duration::from_secs(30);
/// Delay before another entry is appended to a log.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Logs checked concurrently.
const AT_ONCE: usize = 8;

/// Opens the partitions to messages with the header `account`. Called when a worker starts, and
/// after a declaration.
///
/// First waits until every log confirms an entry, at most 30 s: RabbitMQ before 4.0 can confirm and
/// drop messages of a channel that publishes to several logs without a leader.
///
/// # Errors
/// [`BrokerError::NoPlugin`] if RabbitMQ does not support the consistent-hash exchange, `NotFound`
/// if a partition is missing.
pub async fn open_partitions(
    addresses: &Addresses,
    names: &Names,
    partitions: u16,
) -> Result<(), BrokerError> {
    let connection = Connection::open_any(addresses, "streamwatch, opening the partitions").await?;
    let deadline = Instant::now() + LOGS_WITHIN;
    stream::iter((0..partitions).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |partition| {
            wait_for_confirm(&connection, names, partition, deadline)
        })
        .await?;
    lock(&connection, names).await?;
    let channel = connection.channel().await?;
    for component in ring(names, partitions) {
        component.declare(&channel).await?;
    }
    entrance_binding(names).declare(&channel).await?;
    connection.close().await;
    Ok(())
}

/// Takes the lock, an exclusive queue, so that one worker binds at a time. Partitions must be bound
/// in order, and RabbitMQ may confirm a repeated binding before the first one is in the ring. The
/// lock ends with the connection.
async fn lock(connection: &Connection, names: &Names) -> Result<(), BrokerError> {
    let name = names.ring_lock();
    let deadline = Instant::now() + LOCK_WITHIN;
    loop {
        let channel = connection.channel().await?;
        let options = QueueDeclareOptions::exclusive();
        let declared = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
        match within("locking the ring", declared).await {
            Ok(_) => return Ok(()),
            Err(BrokerError::Locked(_)) if Instant::now() < deadline => {
                tokio::time::sleep(LOCK_EVERY).await;
            }
            Err(BrokerError::Locked(_)) => {
                tracing::warn!(
                    "the queue {name} is still locked; binding the partitions without the lock"
                );
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits until a log confirms an entry, or until the deadline.
async fn wait_for_confirm(
    connection: &Connection,
    names: &Names,
    partition: u16,
    deadline: Instant,
) -> Result<(), BrokerError> {
    let queue = names.log(partition);
    loop {
        let mut appender = OneShotAppender::new(connection, &queue).await?;
        let appended = appender.append(Internal::Tick(None));
        match tokio::time::timeout_at(deadline, appended).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(BrokerError::NotFound(_) | BrokerError::Timeout { .. }))
                if Instant::now() + RETRY_AFTER < deadline =>
            {
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Ok(Err(BrokerError::NotFound(_) | BrokerError::Timeout { .. })) | Err(_) => {
                tracing::error!(
                    partition,
                    "the log does not confirm entries; opening the other partitions"
                );
                return Ok(());
            }
            Ok(Err(error)) => return Err(error),
        }
    }
}
