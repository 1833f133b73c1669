//! Bodies of responses.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    client::{self, Metadata, StreamId},
    edge::Interval,
    wire::show,
};

/// An active stream that was opened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Opened {
    /// The stream.
    pub(super) stream: Uuid,
    /// The interval of heartbeats.
    pub(super) heartbeat_every_ms: u64,
    /// The time after the last heartbeat until the stream expires.
    pub(super) ttl_ms: u64,
    /// The active streams that it ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) replaced: Vec<Uuid>,
    /// The account's active streams, this one included.
    pub(super) activity: Activity,
}

/// The interval of heartbeats and the TTL, if they have changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// The interval of heartbeats.
    heartbeat_every_ms: u64,
    /// The time after the last heartbeat until the stream expires.
    ttl_ms: u64,
}

impl From<Interval> for Changed {
    fn from(interval: Interval) -> Self {
        Self {
            heartbeat_every_ms: ms(interval.every),
            ttl_ms: ms(interval.ttl),
        }
    }
}

/// An account's active streams.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Activity {
    /// The tenant.
    tenant: String,
    /// The account.
    account: String,
    /// The number of active streams.
    count: usize,
    /// The moment of the answer.
    #[schema(format = DateTime)]
    as_of: String,
    /// The streams, the oldest first.
    streams: Vec<Stream>,
    /// Whether some streams are omitted, since a response has a bound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    /// The number of streams for each value of each key of group_by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    by: BTreeMap<String, BTreeMap<String, u32>>,
}

/// An active stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Stream {
    /// Its id.
    stream: Uuid,
    /// Whether it was opened; false if there were only heartbeats.
    admitted: bool,
    /// Its start.
    #[schema(format = DateTime)]
    started_at: String,
    /// Its last sign of life.
    #[schema(format = DateTime)]
    last_seen: String,
    /// Milliseconds from the moment of the answer to the end of its TTL.
    expires_in_ms: u64,
    /// Its metadata. Numbers and booleans are their JSON text.
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: Metadata,
}

/// The state of a stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct State {
    /// The stream.
    pub(super) stream: Uuid,
    /// active, stopped, expired or unknown.
    pub(super) state: &'static str,
    /// The account's active streams.
    pub(super) activity: Activity,
}

impl Activity {
    pub(super) fn new(
        activity: client::Activity,
        by: BTreeMap<String, BTreeMap<String, u32>>,
    ) -> Self {
        let streams = activity.streams.iter().map(|stream| Stream {
            stream: stream.stream.0,
            admitted: stream.admitted,
            started_at: show(stream.started_at),
            last_seen: show(stream.last_seen),
            expires_in_ms: stream.expires_in_ms,
            metadata: stream.metadata.clone(),
        });
        Self {
            tenant: activity.key.tenant().to_owned(),
            account: activity.key.account().to_owned(),
            count: activity.count(),
            as_of: show(activity.as_of),
            streams: streams.collect(),
            truncated: activity.left_out > 0,
            by,
        }
    }
}

/// A time in a body.
pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Ids in a body.
pub(super) fn ids(streams: &[StreamId]) -> Vec<Uuid> {
    streams.iter().map(|stream| stream.0).collect()
}
