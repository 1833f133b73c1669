//! Replies as a client decodes them.

use std::collections::BTreeMap;

use crate::{
    domain::{Answer, StoppedReason, StreamId},
    wire::Problem,
};

/// The number of streams for each value of each requested metadata key.
pub type CountsBy = BTreeMap<String, BTreeMap<String, u32>>;

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
    },
    /// The stream of a heartbeat has been stopped.
    Stopped {
        /// The stream.
        stream: StreamId,
        /// The reason.
        reason: StoppedReason,
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
    /// The message was not accepted, or its outcome is unknown.
    Error(Problem),
    /// A type of a later version of the contract.
    Unknown,
}
