//! Responses, with the headers of Adobe's APIs.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use serde_json::{Value, json};

use super::{evaluation::refresh_metadata, policy::AccountError};
use crate::{
    client::WallTime,
    edge::{Denied, PlayersError},
};

/// A response at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct AdobeResponse {
    /// The status.
    pub status: StatusCode,
    /// The moment, for `Date`.
    pub at: WallTime,
    /// The header `Expires`, if there is one.
    pub expires: Option<Expires>,
    /// The header `Location`.
    pub location: Option<String>,
    /// The body, as JSON.
    pub body: Option<Value>,
}

/// The header `Expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expires {
    /// A moment.
    At(WallTime),
    /// The value 0, as in version 1.
    Zero,
}

/// The reason why a request has no result.
#[derive(Debug)]
pub enum AdobeError {
    /// There are no valid credentials.
    Denied(Denied),
    /// The application has no policies, or may not use the account.
    Forbidden(&'static str),
    /// The request lacks metadata that the policies require.
    MissingMetadata,
    /// The request is not acceptable.
    Bad(String),
    /// The body is not a form.
    NoForm,
    /// The edge has not created a session with this id.
    NoSession,
    /// Too many requests; the next one is valid after this time.
    Throttled(Duration),
    /// The operation has no result.
    Players(PlayersError),
}

impl AdobeResponse {
    /// An empty response with this status.
    #[must_use]
    pub const fn new(status: StatusCode, at: WallTime) -> Self {
        Self {
            status,
            at,
            expires: None,
            location: None,
            body: None,
        }
    }

    /// Sets `Expires` to a time after `Date`, at least a second.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        // Dates have whole seconds, and the difference to `Date` must not be longer than the time.
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).max(1);
        let at = WallTime(self.at.0.saturating_add(seconds.saturating_mul(1_000)));
        self.expires = Some(Expires::At(at));
        self
    }

    /// Sets `Location`.
    #[must_use]
    pub fn with_location(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl AdobeError {
    /// The response to the request.
    #[must_use]
    pub fn response(&self, at: WallTime) -> AdobeResponse {
        let response = |status| AdobeResponse::new(status, at);
        let stating = |status, message: String| {
            let body = json!({"associatedAdvice": [], "obligations": [], "message": message});
            response(status).with_body(body)
        };
        match self {
            Self::Denied(denied) => stating(StatusCode::UNAUTHORIZED, denied.to_string()),
            Self::Forbidden(reason) => stating(StatusCode::FORBIDDEN, (*reason).to_owned()),
            Self::MissingMetadata => {
                response(StatusCode::BAD_REQUEST).with_body(refresh_metadata())
            }
            Self::Bad(reason) => stating(StatusCode::BAD_REQUEST, reason.clone()),
            Self::NoForm => stating(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be application/x-www-form-urlencoded".to_owned(),
            ),
            Self::NoSession => response(StatusCode::NOT_FOUND),
            Self::Throttled(wait) => {
                // Rounded up, so that the next call is valid.
                let wait = *wait + Duration::from_millis(999);
                response(StatusCode::TOO_MANY_REQUESTS).expires_in(wait)
            }
            Self::Players(PlayersError::Throttled { retry_after }) => {
                Self::Throttled(*retry_after).response(at)
            }
            Self::Players(error @ PlayersError::Bad(_)) => {
                stating(StatusCode::BAD_REQUEST, error.to_string())
            }
            Self::Players(error) => {
                tracing::warn!(%error, "cannot answer a request to Adobe's API; the client gets 503");
                let unavailable = response(StatusCode::SERVICE_UNAVAILABLE);
                unavailable.expires_in(error.retry_after().unwrap_or_default())
            }
        }
    }
}

impl From<PlayersError> for AdobeError {
    fn from(error: PlayersError) -> Self {
        Self::Players(error)
    }
}

impl From<AccountError> for AdobeError {
    fn from(error: AccountError) -> Self {
        Self::Bad(error.to_string())
    }
}

impl IntoResponse for AdobeResponse {
    fn into_response(self) -> Response {
        let body = self.body.as_ref().map(Value::to_string);
        let mut response = body.unwrap_or_default().into_response();
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.body.is_some() {
            let json = HeaderValue::from_static("application/json;charset=utf-8");
            headers.insert(header::CONTENT_TYPE, json);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Basic realm=\"streamwatch\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        let date = Some(http_date(self.at));
        let expires = self.expires.map(|expires| match expires {
            Expires::At(at) => http_date(at),
            Expires::Zero => "0".to_owned(),
        });
        for (name, value) in [
            (header::DATE, date),
            (header::EXPIRES, expires),
            (header::LOCATION, self.location),
        ] {
            // Other values cannot occur.
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// A time in the form of HTTP, with whole seconds.
fn http_date(at: WallTime) -> String {
    let time = Timestamp::from_millisecond(at.0).unwrap_or_default();
    let shown = DateTimePrinter::new().timestamp_to_rfc9110_string(&time);
    shown.unwrap_or_default()
}

/// The time of day, for `Date` and `Expires`. No decision uses it.
#[allow(
    clippy::disallowed_methods,
    reason = "HTTP dates are the API's; their difference is what clients use"
)]
pub(super) fn now() -> WallTime {
    WallTime(Timestamp::now().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2022-01-01T12:00:00.900Z
    const AT: WallTime = WallTime(1_641_038_400_900);

    fn header(response: &Response, name: header::HeaderName) -> Option<&str> {
        response.headers().get(name)?.to_str().ok()
    }

    #[test]
    fn an_opened_session_has_its_id_and_the_time_of_its_next_heartbeat() {
        let response = AdobeResponse::new(StatusCode::ACCEPTED, AT)
            .expires_in(Duration::from_millis(60_000))
            .with_location("76378b50-4eb0-43b4-b144-51cb62d85563".to_owned());
        let response = response.into_response();
        assert_eq!(response.status(), 202);
        for (name, value) in [
            (header::DATE, Some("Sat, 01 Jan 2022 12:00:00 GMT")),
            (header::EXPIRES, Some("Sat, 01 Jan 2022 12:01:00 GMT")),
            (
                header::LOCATION,
                Some("76378b50-4eb0-43b4-b144-51cb62d85563"),
            ),
            (header::CACHE_CONTROL, Some("no-store")),
            (header::CONTENT_TYPE, None),
        ] {
            assert_eq!(header(&response, name.clone()), value, "{name}");
        }
    }

    #[test]
    fn a_session_with_a_short_interval_expires_after_a_second() {
        let response =
            AdobeResponse::new(StatusCode::ACCEPTED, AT).expires_in(Duration::from_millis(300));
        assert_eq!(response.expires, Some(Expires::At(WallTime(AT.0 + 1_000))));
    }

    #[test]
    fn a_throttled_request_is_valid_again_at_its_expiry() {
        let response = AdobeError::Throttled(Duration::from_millis(20_100)).response(AT);
        assert_eq!((response.status.as_u16(), &response.body), (429, &None));
        assert_eq!(response.expires, Some(Expires::At(WallTime(AT.0 + 21_000))));
    }

    #[test]
    fn each_failure_has_its_status() {
        let retry_after = Duration::from_secs(2);
        let reason = "amqp://secret".to_owned();
        let unavailable = PlayersError::Unavailable {
            retry_after,
            reason,
        };
        for (failure, status) in [
            (AdobeError::Denied(Denied::Missing), 401),
            (AdobeError::Forbidden("no"), 403),
            (AdobeError::MissingMetadata, 400),
            (AdobeError::Bad(String::new()), 400),
            (AdobeError::NoForm, 415),
            (AdobeError::NoSession, 404),
            (PlayersError::TimedOut.into(), 503),
            (PlayersError::Throttled { retry_after }.into(), 429),
            (unavailable.into(), 503),
        ] {
            let response = failure.response(AT);
            assert_eq!(response.status, status, "{failure:?}");
            let body = response.body.map(|body| body.to_string());
            assert!(!body.is_some_and(|body| body.contains("secret")));
        }
    }
}
