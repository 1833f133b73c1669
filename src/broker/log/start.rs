//! The first deliverable entry of a log that has undeliverable ones at its beginning.

use std::ops::Range;
use std::time::Duration;

use super::{
    consumer::{LogConsumer, control},
    from::LogFrom,
};
use crate::broker::{BrokerError, connect::Endpoint};

/// The last of the offsets probed one by one. Retention deletes far more entries at once, so a log
/// whose oldest offset is not 0 begins beyond these.
const ONE_BY_ONE: u64 = 64;
/// Longest wait for an entry; none arrives at the log's end.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Start {
    /// The first deliverable entry.
    pub(super) offset: u64,
    /// The entries before it, if their offsets are known.
    pub(super) undeliverable: Range<u64>,
}

/// Finds the first deliverable entry. RabbitMQ delivers the log's oldest entry for any offset
/// before it, so the offset of the oldest entry is known only if it is 0. That entry may be
/// deliverable too, since the reader's prefetch includes the entries after it.
///
/// After the first 64 offsets, the search halves intervals. It can then skip deliverable entries
/// between undeliverable ones, all of them close to expiry.
///
/// # Errors
/// If the connection is lost, or the log's end cannot be consumed either.
pub(super) async fn find(endpoint: Endpoint, queue: String) -> Result<Start, BrokerError> {
    control(endpoint.clone(), queue.clone()).await?;
    let is_good = async |offset| is_deliverable(&endpoint, &queue, offset).await;
    for offset in 0..=ONE_BY_ONE {
        if is_good(offset).await? {
            let undeliverable = 0..offset;
            return Ok(Start {
                offset,
                undeliverable,
            });
        }
    }
    let (mut bad, mut good) = (ONE_BY_ONE, 2 * ONE_BY_ONE);
    while !is_good(good).await? {
        bad = good;
        good = good.saturating_mul(2);
    }
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        if is_good(middle).await? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    tracing::warn!(
        queue,
        offset = good,
        "the log's oldest entries cannot be delivered; reading from the first that can"
    );
    Ok(Start {
        offset: good,
        undeliverable: 0..0,
    })
}

async fn is_deliverable(
    endpoint: &Endpoint,
    queue: &str,
    offset: u64,
) -> Result<bool, BrokerError> {
    let delivered = async {
        let from = LogFrom::Offset(offset);
        let mut consumer = LogConsumer::open(endpoint.clone(), queue.to_owned(), from, 1).await?;
        consumer.next().await
    };
    match tokio::time::timeout(PATIENCE, delivered).await {
        Ok(Err(BrokerError::Internal(_))) => Ok(false),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(true),
    }
}
