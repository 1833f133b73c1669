//! Replies as a client decodes them.

use std::collections::BTreeMap;

use super::encode::PartitionNumber;
use crate::{
    domain::{Answer, StopCause, StreamId, TenantAnswer},
    wire::Problem,
};

/// The number of streams for each value of each requested metadata key.
pub type CountsBy = BTreeMap<String, BTreeMap<String, u32>>;

/// Bad news about one event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchNews {
    /// The position of the event in the batch.
    pub index: u16,
    /// The reply that its sender would get if it were a message of its own.
    pub reply: Reply,
}

/// A decoded reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The answer to a request.
    Answer {
        /// The answer.
        answer: Answer,
        /// Counts by the keys of `group_by`.
        by: CountsBy,
        /// The partition of the account, for batches.
        partition: Option<PartitionNumber>,
    },
    /// One partition's answer about a tenant.
    Tenant {
        /// The answer.
        answer: TenantAnswer,
        /// The partition.
        partition: PartitionNumber,
    },
    /// The stream of a heartbeat has been stopped.
    Stopped {
        /// The stream.
        stream: StreamId,
        /// The cause.
        cause: StopCause,
    },
    /// The player of a heartbeat does not use the interval or the TTL in force.
    Interval {
        /// The stream.
        stream: StreamId,
        /// The interval of heartbeats.
        heartbeat_every_ms: u64,
        /// The time after the last heartbeat until the stream expires.
        ttl_ms: u64,
    },
    /// Bad news about events of a batch, in their order.
    Batch {
        /// The news.
        events: Vec<BatchNews>,
        /// Whether the news of further events are omitted.
        truncated: bool,
    },
    /// The message was not accepted, or its outcome is unknown.
    Error(Problem),
    /// A type of a later version of the contract.
    Unknown,
}
