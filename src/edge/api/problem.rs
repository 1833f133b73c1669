//! Errors as problem details (RFC 9457).

pub(super) mod bodies;
pub(in crate::edge) mod kinds;

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::bodies::ms;
use crate::{
    client::{ClientError, Code, Problem, StopCause},
    edge::{Denied, players::RETRY_AFTER},
};
use bodies::{Ended, Refused};
use kinds::ProblemKind;

/// The media type of problem details.
const PROBLEM_JSON: &str = "application/problem+json";

/// The reason why a request was refused, for the metrics: an extension of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedFor(pub &'static str);

/// An error response with problem details.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Content>);

#[derive(Clone, Debug)]
struct Content {
    kind: &'static ProblemKind,
    details: Details,
    /// The schemes of credentials that the edge accepts.
    schemes: Option<&'static str>,
    /// The reason in metrics.
    counted: &'static str,
}

/// An error.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Details {
    /// The address of a page about the kind of the problem: /api/v1/problems/ and the code.
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
    /// The time to wait before a repetition, in milliseconds; also the header Retry-After.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(flatten)]
    #[schema(ignore)]
    more: Option<More>,
}

/// The fields of one kind.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum More {
    Ended(Ended),
    Refused(Refused),
}

impl ApiError {
    pub(in crate::edge) fn new(
        kind: &'static ProblemKind,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Content {
            kind,
            details: Details {
                kind: kind.address(),
                title: kind.title,
                status: kind.status.as_u16(),
                detail: detail.into(),
                code: kind.code,
                field: None,
                retry_after_ms: None,
                more: None,
            },
            schemes: None,
            counted: kind.code,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Content)) -> Self {
        change(&mut self.0);
        self
    }

    /// A field of the address, the query or the headers that is not acceptable.
    pub(super) fn bad(field: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(&kinds::BAD_FIELD, detail).with(|it| it.details.field = Some(field.into()))
    }

    pub(in crate::edge) fn retry_after(self, retry_after: Duration) -> Self {
        self.with(|it| it.details.retry_after_ms = Some(ms(retry_after).max(1)))
    }

    /// A client or an account sends more requests than this edge accepts.
    pub(in crate::edge) fn throttled(detail: &'static str, retry_after: Duration) -> Self {
        Self::new(&kinds::THROTTLED, detail).retry_after(retry_after)
    }

    /// Sets the reason in metrics. The default is the code.
    pub(in crate::edge) fn counted(self, reason: &'static str) -> Self {
        self.with(|it| it.counted = reason)
    }

    pub(super) fn denied(denied: Denied, schemes: &'static str) -> Self {
        let detail = "the credentials are missing or not valid";
        Self::new(&kinds::UNAUTHORIZED, detail).with(|it| {
            it.schemes = Some(schemes);
            it.counted = denied.as_str();
        })
    }

    /// A stream that was stopped, or that has expired.
    pub(super) fn ended(stopped: Option<StopCause>) -> Self {
        let detail = match stopped {
            None => "the stream has expired without heartbeats: open a new one",
            Some(_) => "the stream has ended: its player stops",
        };
        let ended = Ended::new(stopped);
        Self::new(&kinds::ENDED, detail).with(|it| it.details.more = Some(More::Ended(ended)))
    }

    /// A refused stream. The same request can succeed after `retry_after_ms`.
    pub(super) fn refused(refused: Refused, retry_after_ms: Option<u64>) -> Self {
        let detail = "the stream is refused and does not count: its player does not play";
        Self::new(&kinds::REFUSED, detail).with(|it| {
            it.details.retry_after_ms = retry_after_ms;
            it.details.more = Some(More::Refused(refused));
        })
    }

    /// The address does not have the method of the request.
    pub(super) fn method_not_allowed() -> Self {
        let detail = "the address does not have this method";
        Self::new(&kinds::METHOD_NOT_ALLOWED, detail)
    }

    pub(in crate::edge) fn not_found() -> Self {
        Self::new(&kinds::NOT_FOUND, "there is nothing at this address")
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::new(problem.code.into(), problem.message).with(|it| it.details.field = problem.field)
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        let retry_after = error.retry_after().unwrap_or(RETRY_AFTER);
        let unavailable = |detail: &'static str| Self::new(&kinds::UNAVAILABLE, detail);
        let problem = match error {
            ClientError::Refused(problem) if problem.code == Code::Throttled => Self::new(
                &kinds::THROTTLED,
                "the tenant or the account sends more requests a second than the installation accepts",
            ),
            ClientError::Refused(problem) if !problem.retryable => return problem.into(),
            ClientError::NotTaken(_) => unavailable(
                "the request is not confirmed, and may take effect: play on, and repeat it with \
                 the same stream id",
            ),
            error => {
                let reason = error.to_string();
                tracing::debug!(reason, "cannot complete a request; the client gets 503");
                unavailable(
                    "the service is unavailable or overloaded, and the request may take effect: \
                     play on, and repeat it with the same stream id",
                )
            }
        };
        problem.retry_after(retry_after)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Content {
            kind,
            details,
            schemes,
            counted,
        } = *self.0;
        let json = serde_json::to_vec(&details).unwrap_or_default();
        let media_type = [(header::CONTENT_TYPE, PROBLEM_JSON)];
        let mut response = (kind.status, media_type, json).into_response();
        let headers = response.headers_mut();
        if let Some(ms) = details.retry_after_ms {
            let seconds = ms.div_ceil(1_000).max(1);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(schemes) = schemes {
            let schemes = HeaderValue::from_static(schemes);
            headers.insert(header::WWW_AUTHENTICATE, schemes);
        }
        response.extensions_mut().insert(RefusedFor(counted));
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        client::{self, AccountKey, RefusedReason, StreamId, WallTime},
        edge::api::bodies::Activity,
    };

    #[test]
    fn a_client_error_keeps_its_retryability() {
        let of = |error: ClientError| {
            let problem = ApiError::from(error).0;
            (problem.details.code, problem.details.retry_after_ms)
        };
        let throttled = ClientError::Refused(Problem::throttled(250));
        assert_eq!(of(throttled), ("throttled", Some(250)));
        let old = ClientError::Refused(Problem::old_rules("limits"));
        assert_eq!(of(old.clone()), ("old_rules", None));
        let field = ApiError::from(old).0.details.field;
        assert_eq!(field.as_deref(), Some("limits"));
        let waited = Duration::from_secs(2);
        for unavailable in [
            ClientError::NoAnswer(waited),
            ClientError::Backlog,
            ClientError::NotTaken(waited),
        ] {
            assert_eq!(of(unavailable), ("unavailable", Some(2_000)));
        }
    }

    #[tokio::test]
    async fn a_remembered_refusal_states_when_to_retry() {
        let stream = StreamId::generate();
        let activity = client::Activity {
            key: AccountKey::of("acme", "alice").unwrap(),
            as_of: WallTime(0),
            streams: Vec::new(),
            left_out: 0,
        };
        let refusal = client::Refused {
            reason: RefusedReason::MaxActive,
            max_active: Some(1),
            conflicts: Vec::new(),
            is_remembered: true,
            retry_after_ms: Some(27_450),
        };
        let activity = Activity::new(activity, std::collections::BTreeMap::new());
        let refused = Refused::new(stream, &refusal, activity);
        let response = ApiError::refused(refused, refusal.retry_after_ms).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "28");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
        assert_eq!(
            (&body["stream"], &body["remembered"], &body["conflicts"]),
            (&json!(stream.to_string()), &json!(true), &Value::Null)
        );
        assert_eq!(body["retry_after_ms"], 27_450);
    }
}
