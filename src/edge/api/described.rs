//! Parts of the description: addresses, bodies that the contract's decoder reads, and responses.

#![expect(dead_code, reason = "the fields are only described")]

use serde::Serialize;
use utoipa::{IntoParams, IntoResponses, ToSchema};
use uuid::Uuid;

use super::problem::{
    Details,
    bodies::{Ended, Refused},
};

/// The path of an account.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfAccount {
    /// 1 to 128 bytes of UTF-8 without control characters
    account: String,
}

/// The path of a stream.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfStream {
    /// 1 to 128 bytes of UTF-8 without control characters
    account: String,
    /// The stream, created by its player
    stream: Uuid,
}

/// A request to open a stream. All fields are optional; an empty body opens a stream without
/// metadata and limits.
#[derive(ToSchema)]
pub(super) struct Open {
    /// The stream, created by the player before the first attempt.
    stream: Option<Uuid>,
    /// At most 16 pairs, such as device, channel or application: keys of 1 to 64 bytes; strings of
    /// at most 256 bytes, numbers or booleans.
    #[schema(value_type = Option<Object>, example = json!({"device": "tv"}))]
    metadata: Option<()>,
    /// Most active streams of the account, this one included. Instead of limits.
    #[schema(minimum = 1)]
    max_active: Option<u32>,
    /// At most 8 limits.
    limits: Option<Vec<Limit>>,
    /// The reaction to a limit that would be exceeded: refuse (default) or replace_oldest.
    on_limit: Option<String>,
    /// At most 4 metadata keys: active streams that agree with this one in all of them end first.
    same: Option<Vec<String>>,
    /// At most 16 streams to stop in the same step.
    replace: Option<Vec<Uuid>>,
    /// The reason for the players of streams that this one ends: 1 to 64 bytes.
    reason: Option<String>,
    /// At most 16 metadata keys to count the account's streams by.
    group_by: Option<Vec<String>>,
}

/// A limit of the account's active streams, the new one included.
#[derive(ToSchema)]
pub(super) struct Limit {
    /// The maximum number of streams, or of different values of distinct.
    #[schema(minimum = 1)]
    max: u32,
    /// Counts the different values of this metadata key.
    distinct: Option<String>,
    /// Counts only streams with one of these values of each key: at most 4 keys of 16 values.
    #[schema(value_type = Option<Object>, example = json!({"kind": ["live"]}))]
    r#where: Option<()>,
}

/// A heartbeat. All fields are optional, and the body may be empty.
#[derive(ToSchema)]
pub(super) struct Heartbeat {
    /// Changes of the metadata (JSON Merge Patch): null removes a key.
    #[schema(value_type = Option<Object>, example = json!({"paused": true}))]
    metadata: Option<()>,
    /// The interval that the player uses. A later response then states a changed one.
    #[schema(minimum = 1)]
    heartbeat_every_ms: Option<u32>,
}

/// An error
#[derive(IntoResponses)]
#[response(status = "default", content_type = "application/problem+json")]
pub(super) struct Fails(Details);

/// The stream is refused, and does not count
#[derive(IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
pub(super) struct IsRefused(RefusedProblem);

/// The stream has ended, with the reason
#[derive(IntoResponses)]
#[response(status = 410, content_type = "application/problem+json")]
pub(super) struct HasEnded(EndedProblem);

/// The problem of an ended stream.
#[derive(Serialize, ToSchema)]
pub(super) struct EndedProblem {
    #[serde(flatten)]
    problem: Details,
    #[serde(flatten)]
    ended: Ended,
}

/// The problem of a refused stream. With retry_after_ms, the same request can succeed after that time.
#[derive(Serialize, ToSchema)]
pub(super) struct RefusedProblem {
    #[serde(flatten)]
    problem: Details,
    #[serde(flatten)]
    refused: Refused,
}
