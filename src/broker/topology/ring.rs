//! The ring: which partition a hash of the account leads to.
//!
//! RabbitMQ forgets it when the last node of a cluster stops, see `shape`. Until a worker has built
//! it anew, all messages go to the intake: none goes astray, and none is lost.

use std::time::Duration;

use super::{
    declare::one,
    shape::{entrance, ring},
    show::look,
};
use crate::broker::{Addresses, BrokerError, Lease, Link, Names};

/// How long to wait while another worker builds.
const WAIT: Duration = Duration::from_millis(100);

/// Builds the ring where it is not there, or goes on where its builder broke off. On a connection
/// of its own, under a lock that ends with it: partitions must be bound in their order, and of two
/// who bind at once one may be told too early that it is done.
///
/// # Errors
/// [`BrokerError::NoPlugin`] where RabbitMQ lacks it, `NotFound` where a partition is missing.
pub async fn build_ring(
    addresses: &Addresses,
    n: usize,
    names: &Names,
    partitions: u16,
) -> Result<(), BrokerError> {
    let link = Link::open(addresses, n, "streamwatch worker, building the ring").await?;
    let mut lock = Lease::default();
    while !lock.try_take(&link, &names.ring_lock()).await? {
        tokio::time::sleep(WAIT).await;
    }
    let channel = link.channel().await?;
    for part in ring(names, partitions) {
        one(&channel, part).await?;
    }
    link.close().await;
    Ok(())
}

/// Messages with the header go past the intake from here on. Only with a whole ring.
///
/// # Errors
/// `NotFound` where there is no ring.
pub async fn open_entrance(link: &Link, names: &Names) -> Result<(), BrokerError> {
    one(&link.channel().await?, entrance(names)).await
}

/// No message waits in the intake.
///
/// # Errors
/// `NotFound` where there is none.
pub async fn intake_is_empty(link: &Link, names: &Names) -> Result<bool, BrokerError> {
    for queue in [names.intake_requests(), names.intake_events()] {
        let found = look(link, &queue).await?;
        let found = found.ok_or_else(|| BrokerError::NotFound(format!("no queue {queue}")))?;
        if found.message_count() > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
