//! Parts of the description that several routes share.

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
#[expect(dead_code, reason = "it describes an address")]
pub(super) struct OfAccount {
    /// 1 to 128 bytes of UTF-8 without control characters
    account: String,
}

/// The path of a stream.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes an address")]
pub(super) struct OfStream {
    /// 1 to 128 bytes of UTF-8 without control characters
    account: String,
    /// The stream, created by its player
    stream: Uuid,
}

/// An error
#[derive(IntoResponses)]
#[response(status = "default", content_type = "application/problem+json")]
#[expect(dead_code, reason = "it describes a response")]
pub(super) struct Fails(Details);

/// The stream is refused, and does not count
#[derive(IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
#[expect(dead_code, reason = "it describes a response")]
pub(super) struct IsRefused(RefusedProblem);

/// The stream has ended, with the reason
#[derive(IntoResponses)]
#[response(status = 410, content_type = "application/problem+json")]
#[expect(dead_code, reason = "it describes a response")]
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
