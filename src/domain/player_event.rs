//! Heartbeats and stops.

use super::{GivenReason, MetadataPatch, ReasonError, StreamId};

/// A heartbeat or a stop, published by a player or for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayerEvent {
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// The end of a stream, or of all streams of the account.
    Stop(Stop),
}

/// A sign of life of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The stream.
    pub stream: StreamId,
    /// The interval of heartbeats that the player was last sent, in milliseconds, if it states one.
    pub every_ms: Option<u32>,
    /// The change of the stream's metadata, if there is one.
    pub metadata: Option<MetadataPatch>,
}

/// The end of streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The streams.
    pub target: StopTarget,
    /// The reason for their players. An error if it is not acceptable: it is ignored then.
    pub reason: Option<Result<GivenReason, ReasonError>>,
}

/// The streams that a stop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopTarget {
    /// One stream, active or not.
    One(StreamId),
    /// All active streams of the account.
    All,
}

impl PlayerEvent {
    /// The stream; `None` if it concerns all of the account.
    #[must_use]
    pub const fn stream(&self) -> Option<StreamId> {
        match self {
            Self::Heartbeat(heartbeat) => Some(heartbeat.stream),
            Self::Stop(stop) => match stop.target {
                StopTarget::One(stream) => Some(stream),
                StopTarget::All => None,
            },
        }
    }

    /// The first field that rules version 1 does not accept. It ignores the reason of a stop.
    #[must_use]
    pub fn field_of_rules_2(&self) -> Option<&'static str> {
        match self {
            Self::Heartbeat(heartbeat) => {
                let is_merged = heartbeat
                    .metadata
                    .as_ref()
                    .is_some_and(|it| !it.is_strings());
                is_merged.then_some("metadata")
            }
            Self::Stop(stop) => (stop.target == StopTarget::All).then_some("all"),
        }
    }

    /// Whether it is a stop whose reason is not acceptable.
    #[must_use]
    pub const fn ignores_reason(&self) -> bool {
        matches!(
            self,
            Self::Stop(Stop {
                reason: Some(Err(_)),
                ..
            })
        )
    }
}

impl Heartbeat {
    /// A heartbeat without an interval and metadata.
    #[must_use]
    pub const fn of(stream: StreamId) -> Self {
        Self {
            stream,
            every_ms: None,
            metadata: None,
        }
    }
}

impl Stop {
    /// A stop of one stream, without a reason.
    #[must_use]
    pub const fn of(stream: StreamId) -> Self {
        Self {
            target: StopTarget::One(stream),
            reason: None,
        }
    }

    /// A stop of all streams of the account.
    #[must_use]
    pub fn of_all(reason: Option<GivenReason>) -> Self {
        Self {
            target: StopTarget::All,
            reason: reason.map(Ok),
        }
    }
}

impl From<Heartbeat> for PlayerEvent {
    fn from(heartbeat: Heartbeat) -> Self {
        Self::Heartbeat(heartbeat)
    }
}

impl From<Stop> for PlayerEvent {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}
