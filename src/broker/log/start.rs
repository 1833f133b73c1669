//! The first entry of a log that can be delivered, where its oldest cannot.

use std::{ops::Range, time::Duration};

use super::{
    From,
    consumer::{LogConsumer, control},
};
use crate::broker::{BrokerError, connect::Origin};

/// Offsets that are tried one by one. A log without its beginning has lost far more entries.
const ONE_BY_ONE: u64 = 64;
/// How long an entry may take to be delivered; none comes at the log's end.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where reading begins.
pub(super) struct Start {
    /// The first entry that can be delivered.
    pub(super) offset: u64,
    /// The entries before it, where their offsets are known.
    pub(super) undeliverable: Range<u64>,
}

/// Finds the start. An offset before the log's oldest entry stands for that entry, so the log's own
/// beginning is not known unless it is at 0.
///
/// Behind the first 64 offsets the search halves intervals. It may then leave out entries between
/// undeliverable ones, all of them near the end of their retention.
pub(super) async fn find(origin: Origin, queue: String) -> Result<Start, BrokerError> {
    control(origin.clone(), queue.clone()).await?;
    let is_good = async |offset| is_deliverable(&origin, &queue, offset).await;
    for offset in 1..=ONE_BY_ONE {
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

async fn is_deliverable(origin: &Origin, queue: &str, offset: u64) -> Result<bool, BrokerError> {
    let delivered = async {
        let from = From::Offset(offset);
        let mut consumer = LogConsumer::open(origin.clone(), queue.to_owned(), from, 1).await?;
        consumer.next().await
    };
    match tokio::time::timeout(PATIENCE, delivered).await {
        Ok(Err(BrokerError::Internal(_))) => Ok(false),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(true),
    }
}
