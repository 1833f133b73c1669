//! Answers to requests: an account's activity, and the outcome.

use serde::{Deserialize, Serialize};

use super::{AccountKey, Conflict, GivenReason, Metadata, StreamId, WallTime};

/// An account's active streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The account.
    pub key: AccountKey,
    /// The moment of the answer.
    pub as_of: WallTime,
    /// The streams, the oldest first.
    pub streams: Vec<ActiveStream>,
    /// Number of further streams, omitted because a reply has a bound.
    pub left_out: usize,
}

/// One active stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveStream {
    /// Its id.
    pub stream: StreamId,
    /// Whether an `init` was admitted for it; false if there were only heartbeats.
    pub admitted: bool,
    /// Its start.
    pub started_at: WallTime,
    /// Its last `init` or heartbeat.
    pub last_seen: WallTime,
    /// Milliseconds from the moment of the answer to the end of its TTL.
    pub expires_in_ms: u64,
    /// Its metadata.
    pub metadata: Metadata,
}

impl Activity {
    /// Number of active streams.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.streams.len() + self.left_out
    }

    /// The active stream with this id.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> Option<&ActiveStream> {
        self.streams.iter().find(|stream| stream.stream == id)
    }

    /// Number of streams for each value of the metadata key `key`, in the order of the values.
    /// Streams without the key are not counted.
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

words! {
    /// The state of a stream.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum StreamState {
        /// It is active.
        Active = "active",
        /// It was stopped or replaced, and its tombstone has not expired.
        Stopped = "stopped",
        /// It expired less than a TTL ago.
        Expired = "expired",
        /// There is no record of it.
        Unknown = "unknown",
    }
}

words! {
    /// The reason why a stream was refused. Snapshots contain its number, which never changes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum RefusedReason {
        /// The account would have more active streams than the request's `max_active`.
        MaxActive = "max_active",
        /// The account has as many streams as the settings allow.
        AccountCap = "account_cap",
        /// The partition, or the tenant in it, is full.
        OverCapacity = "over_capacity",
        /// The stream was stopped before it was opened.
        Stopped = "stopped",
        /// One of the request's `limits` would be exceeded.
        Limits = "limits",
    }
}

words! {
    /// The reason why a stream was ended. Snapshots contain its number, which never changes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum StoppedReason {
        /// By a `stop`.
        Stopped = "stopped",
        /// By the `init` of another stream.
        Replaced = "replaced",
        /// By its age.
        TooOld = "too_old",
    }
}

/// The cause of the end of a stream, for its player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopCause {
    /// The reason.
    pub reason: StoppedReason,
    /// The reason that the sender of the `stop` or of the replacing `init` gave.
    #[serde(
        rename = "given_reason",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "GivenReason::if_acceptable"
    )]
    pub given: Option<GivenReason>,
}

impl From<StoppedReason> for StopCause {
    fn from(reason: StoppedReason) -> Self {
        Self {
            reason,
            given: None,
        }
    }
}

/// A refusal, with the data that its receiver needs to react.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The reason.
    pub reason: RefusedReason,
    /// The limit in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active: Option<u32>,
    /// The limits that the stream would exceed, with the streams in its way. For a stored refusal,
    /// as of the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
    /// Whether an earlier decision on the same request is repeated.
    #[serde(
        rename = "remembered",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_remembered: bool,
    /// The time after which the same request may be admitted, in milliseconds, if waiting helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stream is active.
    Opened {
        /// The stream.
        stream: StreamId,
        /// The interval of heartbeats.
        heartbeat_every_ms: u64,
        /// The time after the last heartbeat until the stream expires.
        ttl_ms: u64,
        /// The active streams that it ended.
        replaced: Vec<StreamId>,
        /// The account's streams, this one included.
        activity: Activity,
    },
    /// The stream was refused.
    Refused {
        /// The stream.
        stream: StreamId,
        /// The refusal.
        refusal: Refused,
        /// The account's streams.
        activity: Activity,
    },
    /// The answer to a `status`.
    Status {
        /// The account's streams.
        activity: Activity,
        /// The stream in the request, and its state.
        stream: Option<(StreamId, StreamState)>,
    },
}
