//! Bodies of problems with a stream.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    client::{self, StopCause, StreamId},
    edge::api::bodies::{Activity, ids},
};

/// The end of a stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::edge::api) struct Ended {
    /// stopped, replaced, too_old or expired.
    reason: &'static str,
    /// The reason that the sender of the stop, or of the stream that replaced this one, gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_reason: Option<String>,
}

/// A refused stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::edge::api) struct Refused {
    /// The stream.
    stream: Uuid,
    /// max_active, limits, account_cap, over_capacity or stopped.
    reason: &'static str,
    /// The max_active of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_active: Option<u32>,
    /// The limits that the stream would exceed; of a repeated decision, those that it would exceed now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<Conflict>,
    /// Whether an earlier decision on the same request is repeated. A new request is decided anew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    remembered: bool,
    /// The account's active streams.
    activity: Activity,
}

/// Active streams in the way of a refused one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::edge::api) struct Conflict {
    /// The position of the limit in the request; 0 for max_active.
    limit: usize,
    /// Active streams that count toward the limit, the oldest first.
    streams: Vec<Uuid>,
}

impl Ended {
    /// The end of a stream that was stopped, or has expired.
    pub(super) fn new(stopped: Option<StopCause>) -> Self {
        Self {
            reason: stopped.as_ref().map_or("expired", |it| it.reason.as_str()),
            given_reason: stopped.and_then(|it| Some(it.given?.as_str().to_owned())),
        }
    }
}

impl Refused {
    pub(in crate::edge::api) fn new(
        stream: StreamId,
        refusal: &client::Refused,
        activity: Activity,
    ) -> Self {
        let conflicts = refusal.conflicts.iter().map(|conflict| Conflict {
            limit: conflict.limit,
            streams: ids(&conflict.streams),
        });
        Self {
            stream: stream.0,
            reason: refusal.reason.as_str(),
            max_active: refusal.max_active,
            conflicts: conflicts.collect(),
            remembered: refusal.is_remembered,
            activity,
        }
    }
}
