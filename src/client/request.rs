//! Events of batches, and the news about them.

use std::time::Duration;

use crate::{
    domain::{AccountId, PlayerEvent, StopCause},
    wire::Problem,
};

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
