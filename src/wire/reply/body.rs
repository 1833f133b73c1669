//! The JSON of replies: the same declarations encode and decode it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{CountsBy, EventNews};
use crate::{
    domain::{
        AccountCount, AccountId, ActiveStream, Metadata, Refused, StreamId, StreamState, Tenant,
        WallTime,
    },
    wire::Rfc3339,
};

/// A reply, except [`News`](super::News).
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Body<'a> {
    Opened {
        stream: StreamId,
        heartbeat_every_ms: u64,
        ttl_ms: u64,
        #[serde(skip_deserializing)]
        expires_in_ms: u64,
        #[serde(skip_deserializing)]
        expires_at: Rfc3339,
        #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
        replaced: Cow<'a, [StreamId]>,
        #[serde(flatten)]
        partition: Option<PartitionNumber>,
        activity: ActivityBody<'a>,
    },
    Refused {
        stream: StreamId,
        #[serde(flatten)]
        refusal: Cow<'a, Refused>,
        #[serde(flatten)]
        partition: Option<PartitionNumber>,
        activity: ActivityBody<'a>,
    },
    Activity {
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<StreamId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<StreamState>,
        #[serde(flatten)]
        partition: Option<PartitionNumber>,
        activity: ActivityBody<'a>,
    },
    Accounts {
        #[serde(flatten)]
        partition: PartitionNumber,
        tenant: Cow<'a, Tenant>,
        as_of: Rfc3339,
        accounts: Cow<'a, [AccountCount]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<Cow<'a, AccountId>>,
    },
    Totals {
        #[serde(flatten)]
        partition: PartitionNumber,
        tenant: Cow<'a, Tenant>,
        as_of: Rfc3339,
        accounts: u64,
        streams: u64,
        #[serde(default, skip_serializing_if = "CountsBy::is_empty")]
        by: CountsBy<u64>,
    },
    Batch {
        events: Cow<'a, [EventNews]>,
        /// Whether some events are omitted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
    },
    #[serde(other)]
    News,
}

/// The partition of an account, for senders of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionNumber {
    /// Its number.
    pub partition: u16,
    /// The number of partitions.
    pub partitions: u16,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ActivityBody<'a> {
    pub(super) tenant: Cow<'a, str>,
    pub(super) account: Cow<'a, str>,
    pub(super) count: usize,
    pub(super) as_of: Rfc3339,
    pub(super) streams: Vec<StreamBody<'a>>,
    /// Whether some streams are omitted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<CountsBy>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StreamBody<'a> {
    stream: StreamId,
    admitted: bool,
    started_at: Rfc3339,
    last_seen: Rfc3339,
    #[serde(skip_deserializing)]
    expires_at: Rfc3339,
    expires_in_ms: u64,
    #[serde(default)]
    metadata: Cow<'a, Metadata>,
}

impl<'a> StreamBody<'a> {
    pub(super) fn new(stream: &'a ActiveStream, as_of: WallTime) -> Self {
        Self {
            stream: stream.stream,
            admitted: stream.admitted,
            started_at: Rfc3339(stream.started_at),
            last_seen: Rfc3339(stream.last_seen),
            expires_at: expires_at(as_of, stream.expires_in_ms),
            expires_in_ms: stream.expires_in_ms,
            metadata: Cow::Borrowed(&stream.metadata),
        }
    }

    pub(super) fn decode(self) -> ActiveStream {
        ActiveStream {
            stream: self.stream,
            admitted: self.admitted,
            started_at: self.started_at.0,
            last_seen: self.last_seen.0,
            expires_in_ms: self.expires_in_ms,
            metadata: self.metadata.into_owned(),
        }
    }
}

pub(super) const fn expires_at(as_of: WallTime, in_ms: u64) -> Rfc3339 {
    Rfc3339(WallTime(as_of.0.saturating_add_unsigned(in_ms)))
}
