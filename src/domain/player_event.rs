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

    /// The first field that rules version 1 does not accept.
    #[must_use]
    pub fn field_of_rules_2(&self) -> Option<&'static str> {
        match self {
            Self::Heartbeat(heartbeat) => heartbeat.field_of_rules_2(),
            Self::Stop(stop) => stop.field_of_rules_2(),
        }
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

    /// As [`PlayerEvent::field_of_rules_2`].
    #[must_use]
    pub fn field_of_rules_2(&self) -> Option<&'static str> {
        let metadata = self.metadata.as_ref()?;
        (!metadata.is_strings()).then_some("metadata")
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

    /// Whether its reason is not acceptable.
    #[must_use]
    pub const fn ignores_reason(&self) -> bool {
        matches!(self.reason, Some(Err(_)))
    }

    /// As [`PlayerEvent::field_of_rules_2`]. Version 1 ignores the reason.
    #[must_use]
    pub const fn field_of_rules_2(&self) -> Option<&'static str> {
        match self.target {
            StopTarget::All => Some("all"),
            StopTarget::One(_) => None,
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
