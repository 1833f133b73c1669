//! Requests of clients, and their outcomes.

use std::time::Duration;

use crate::{
    domain::{
        AccountId, Activity, Consistency, Metadata, PlayerEvent, Refused, StopCause, StreamId,
        StreamState, Terms,
    },
    wire::{CountsBy, PartitionNumber, Problem},
};

/// A `status` request for an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusQuery {
    /// A stream whose state to return too.
    pub stream: Option<StreamId>,
    /// Metadata keys to count the streams by, at most 16.
    pub group_by: Vec<String>,
    /// The required freshness of the reply.
    pub consistency: Consistency,
}

/// The activity of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// The account's active streams.
    pub activity: Activity,
    /// Counts by the keys of `group_by`.
    pub by: CountsBy,
    /// The state of the requested stream.
    pub state: Option<StreamState>,
    /// The partition of the account, for batches.
    pub partition: Option<PartitionNumber>,
}

/// A heartbeat or a stop in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchEvent {
    /// The account.
    pub account: AccountId,
    /// The event.
    pub event: PlayerEvent,
}

/// Bad news about a heartbeat, or about one event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadNews {
    /// The stream was stopped.
    Stopped(StopCause),
    /// The player does not use the interval or the TTL in force.
    Interval {
        /// The interval of heartbeats.
        every: Duration,
        /// The time after which the stream expires without a heartbeat.
        ttl: Duration,
    },
    /// The event was rejected.
    Rejected(Problem),
    /// The broker confirmed the event, but in a batch that was rejected because of its partition,
    /// and a [`Batcher`](super::Batcher) could not send the event again within 30 s.
    Lost,
}

/// A request to open a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenRequest {
    /// The stream's id, generated before the first attempt; a new one if `None`.
    pub stream: Option<StreamId>,
    /// The stream's metadata.
    pub metadata: Metadata,
    /// Most active streams of the account, including this one; if exceeded, the stream is refused.
    pub max_active: Option<u32>,
    /// Streams to stop in the same step, at most 16.
    pub replace: Vec<StreamId>,
    /// Limits by metadata, instead of `max_active`, and which streams to end.
    pub terms: Terms,
    /// Metadata keys to count the account's streams by.
    pub group_by: Vec<String>,
}

/// The decision on an `init`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The stream is active.
    Opened {
        /// The interval of heartbeats.
        heartbeat_every: Duration,
        /// The time after which the stream expires without a heartbeat.
        ttl: Duration,
        /// The active streams that it ended.
        replaced: Vec<StreamId>,
        /// The account's active streams, including this one.
        activity: Activity,
        /// Counts by the keys of `group_by`.
        by: CountsBy,
        /// The partition of the account, for batches.
        partition: Option<PartitionNumber>,
    },
    /// The stream is not active.
    Refused {
        /// The reason, and what to do about it.
        refusal: Refused,
        /// The account's active streams.
        activity: Activity,
        /// Counts by the keys of `group_by`.
        by: CountsBy,
        /// The partition of the account, for batches.
        partition: Option<PartitionNumber>,
    },
}
