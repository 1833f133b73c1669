//! The answers: what is active, and what became of a request.

use super::{AccountKey, Metadata, StreamId, WallTime};

/// An account's active streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Whose.
    pub key: AccountKey,
    /// At which moment.
    pub as_of: WallTime,
    /// The streams, the oldest first.
    pub streams: Vec<ActiveStream>,
    /// How many more there are: a reply has a bound.
    pub left_out: usize,
}

/// One active stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveStream {
    /// Which.
    pub stream: StreamId,
    /// Begun, or confirmed later, by a request to open; not by a heartbeat alone.
    pub admitted: bool,
    /// When it began.
    pub started_at: WallTime,
    /// Its last sign of life.
    pub last_seen: WallTime,
    /// Milliseconds from the answer's moment until its TTL is over.
    pub expires_in_ms: u64,
    /// Its metadata.
    pub metadata: Metadata,
}

impl Activity {
    /// How many streams are active.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.streams.len() + self.left_out
    }

    /// How many streams have each value of `key` in their metadata, in order of the values.
    /// Streams without it are not counted.
    #[must_use]
    pub fn count_by<'a>(&'a self, key: &str) -> Vec<(&'a str, u32)> {
        let mut values: Vec<&str> = self
            .streams
            .iter()
            .filter_map(|s| s.metadata.get(key))
            .collect();
        values.sort_unstable();
        values
            .chunk_by(|a, b| a == b)
            .map(|same| (same[0], u32::try_from(same.len()).unwrap_or(u32::MAX)))
            .collect()
    }
}

/// In which state a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// It counts.
    Active,
    /// It was stopped or replaced, less than a TTL ago or since its last heartbeat.
    Stopped,
    /// It fell silent, less than a TTL ago.
    Expired,
    /// Nothing is known of it, or no longer.
    Unknown,
}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedReason {
    /// With it the account would have more than the request's `max_active`.
    MaxActive,
    /// The account has as many streams as the settings allow.
    AccountCap,
    /// The partition, or the tenant in it, is full.
    OverCapacity,
    /// The stream was stopped before it was opened.
    Stopped,
}

impl RefusedReason {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::MaxActive,
        Self::AccountCap,
        Self::OverCapacity,
        Self::Stopped,
    ];
}

/// Why a stream was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedReason {
    /// By a `stop`.
    Stopped,
    /// By another stream's `replace`.
    Replaced,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stream counts.
    Opened {
        /// Which.
        stream: StreamId,
        /// How often to send heartbeats.
        heartbeat_every_ms: u64,
        /// How long it counts without one.
        ttl_ms: u64,
        /// The account's streams, this one among them.
        activity: Activity,
    },
    /// It does not.
    Refused {
        /// Which.
        stream: StreamId,
        /// Why.
        reason: RefusedReason,
        /// The limit the request named.
        max_active: Option<u32>,
        /// The account's streams.
        activity: Activity,
    },
    /// The answer to a question.
    Status {
        /// The account's streams.
        activity: Activity,
        /// The stream that was asked about, and its state.
        stream: Option<(StreamId, StreamState)>,
    },
}

impl Answer {
    /// The activity in it.
    #[must_use]
    pub const fn activity(&self) -> &Activity {
        match self {
            Self::Opened { activity, .. }
            | Self::Refused { activity, .. }
            | Self::Status { activity, .. } => activity,
        }
    }
}
