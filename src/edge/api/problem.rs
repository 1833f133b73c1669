//! Errors as problem details (RFC 9457).

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::bodies::{Activity, Conflict};
use crate::{
    client::{Code, Problem as WireProblem},
    edge::{Denied, PlayersError},
};

/// The media type of problem details.
const PROBLEM_JSON: &str = "application/problem+json";

/// The reason of a refused request, an extension of its response, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedFor(pub &'static str);

/// An error.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Problem(Box<Details>);

/// An error.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Details {
    /// A URI that identifies the kind of the problem: /api/v1/problems/ and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The status of the response.
    status: u16,
    /// This problem in words.
    detail: Cow<'static, str>,
    /// The stable code of the kind.
    code: &'static str,
    /// The field of the request that causes the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    field: Option<Cow<'static, str>>,
    /// The time to wait before a repetition, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// The reason of an end: stopped, replaced, too_old or expired. Of a refusal: max_active,
    /// limits, account_cap, over_capacity or stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The reason that the sender of the stop, or of the stream that replaced this one, gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_reason: Option<String>,
    /// The limits that a refused stream would exceed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<Conflict>,
    /// The account's active streams, if the stream was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: Option<Activity>,
    /// The schemes of credentials that the edge accepts.
    #[serde(skip)]
    schemes: Option<&'static str>,
    /// The reason in metrics.
    #[serde(skip)]
    counted: &'static str,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Details {
            kind: format!("/api/v1/problems/{code}"),
            title: title(code),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            field: None,
            retry_after_ms: None,
            reason: None,
            given_reason: None,
            conflicts: Vec::new(),
            activity: None,
            schemes: None,
            counted: code,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Details)) -> Self {
        change(&mut self.0);
        self
    }

    /// A field of the address, the query or the headers that is not acceptable.
    pub(super) fn bad(field: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, Code::BadField.as_str(), detail);
        problem.with(|it| it.field = Some(field.into()))
    }

    pub(super) fn retry_after(self, retry_after: Duration) -> Self {
        let ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        self.with(|it| it.retry_after_ms = Some(ms.max(1)))
    }

    /// More requests than this edge accepts.
    pub(super) fn throttled(detail: &'static str, retry_after: Duration) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::new(status, Code::Throttled.as_str(), detail).retry_after(retry_after)
    }

    /// Sets the reason in metrics, which is the code otherwise.
    pub(super) fn counted(self, reason: &'static str) -> Self {
        self.with(|it| it.counted = reason)
    }

    pub(super) fn denied(denied: Denied, schemes: &'static str) -> Self {
        let detail = "the credentials are missing or not valid";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).with(|it| {
            it.schemes = Some(schemes);
            it.counted = denied.as_str();
        })
    }

    pub(super) fn ended(reason: &'static str, given_reason: Option<String>) -> Self {
        let detail = if reason == "expired" {
            "the stream has expired without heartbeats: open a new one"
        } else {
            "the stream has ended: its player stops"
        };
        Self::new(StatusCode::GONE, "ended", detail).with(|it| {
            it.reason = Some(reason);
            it.given_reason = given_reason;
        })
    }

    /// A refused stream.
    pub(super) fn refused(
        reason: &'static str,
        conflicts: Vec<Conflict>,
        activity: Activity,
    ) -> Self {
        let detail = "the stream is refused and does not count: its player does not play";
        Self::new(StatusCode::CONFLICT, "refused", detail).with(|it| {
            it.reason = Some(reason);
            it.conflicts = conflicts;
            it.activity = Some(activity);
        })
    }

    /// The method is not one of the address.
    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the address does not have this method",
        )
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing at this address",
        )
    }
}

const fn title(code: &str) -> &'static str {
    match code.as_bytes() {
        b"unauthorized" => "Not identified",
        b"forbidden" => "Not allowed",
        b"not_found" => "Not found",
        b"method_not_allowed" => "Method not allowed",
        b"ended" => "The stream has ended",
        b"refused" => "The stream is refused",
        b"throttled" => "Too many requests",
        b"unavailable" => "Temporarily unavailable",
        b"timeout" => "The request took too long",
        b"too_large" => "The request is too large",
        _ => "The request is not acceptable",
    }
}

impl From<WireProblem> for Problem {
    fn from(problem: WireProblem) -> Self {
        let status = match problem.code {
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        let field = problem.field;
        Self::new(status, problem.code.as_str(), problem.message).with(|it| it.field = field)
    }
}

impl From<PlayersError> for Problem {
    fn from(error: PlayersError) -> Self {
        let unavailable = |detail: &'static str| {
            let code = Code::Unavailable.as_str();
            Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        };
        let retry_after = error.retry_after();
        let problem = match error {
            PlayersError::Bad(problem) => problem.into(),
            PlayersError::Throttled { .. } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                Code::Throttled.as_str(),
                "more requests a second than the installation accepts of the tenant or the account",
            ),
            PlayersError::Unavailable { reason, .. } => {
                tracing::debug!(reason, "a request is not possible now");
                unavailable(
                    "the service is away or has too much to do, and the request may take effect: \
                     play on, and repeat it with the same stream id",
                )
            }
            PlayersError::TimedOut => unavailable(
                "the request is not confirmed, and may take effect: play on, and repeat it with \
                 the same stream id",
            ),
        };
        match retry_after {
            Some(retry_after) => problem.retry_after(retry_after),
            None => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(details) = self;
        let status = StatusCode::from_u16(details.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], json).into_response();
        if let Some(ms) = details.retry_after_ms {
            let seconds = HeaderValue::from(ms.div_ceil(1_000));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if let Some(schemes) = details.schemes {
            let schemes = HeaderValue::from_static(schemes);
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, schemes);
        }
        response
            .extensions_mut()
            .insert(RefusedFor(details.counted));
        response
    }
}
