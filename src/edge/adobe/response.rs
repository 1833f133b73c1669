//! Responses, with the headers of Adobe's APIs.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use serde_json::{Value, json};

use crate::{
    client::{ClientError, Code, WallTime},
    edge::{Denied, players::RETRY_AFTER},
};

/// A response.
pub(super) struct AdobeResponse {
    status: StatusCode,
    pub(super) expires: Option<Expires>,
    location: Option<String>,
    pub(super) body: Option<Value>,
}

/// The header `Expires`.
pub(super) enum Expires {
    /// This time after `Date`, at least a second.
    In(Duration),
    /// The value 0, as in version 1.
    Zero,
}

/// A result, or the response of a failure.
pub(super) type Outcome<T = AdobeResponse> = Result<T, AdobeResponse>;

impl AdobeResponse {
    /// An empty response with this status.
    pub(super) const fn new(status: StatusCode) -> Self {
        Self {
            status,
            expires: None,
            location: None,
            body: None,
        }
    }

    /// A response with a message.
    pub(super) fn stating(status: StatusCode, message: &str) -> Self {
        let body = json!({"associatedAdvice": [], "obligations": [], "message": message});
        Self::new(status).with_body(body)
    }

    /// A request that is not acceptable.
    pub(super) fn bad(reason: &str) -> Self {
        Self::stating(StatusCode::BAD_REQUEST, reason)
    }

    /// Too many requests; the next one is valid after this time.
    pub(super) fn throttled(wait: Duration) -> Self {
        // Rounded up, so that the next call is valid.
        let wait = wait + Duration::from_millis(999);
        Self::new(StatusCode::TOO_MANY_REQUESTS).expires_in(wait)
    }

    /// The edge has not created a session with the id of the request.
    pub(super) const fn no_session() -> Self {
        Self::new(StatusCode::NOT_FOUND)
    }

    pub(super) fn expires_in(mut self, time: Duration) -> Self {
        self.expires = Some(Expires::In(time));
        self
    }

    pub(super) fn with_location(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    pub(super) fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The response at one moment.
    fn at(self, now: WallTime) -> Response {
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
        let expires = self.expires.map(|expires| match expires {
            Expires::In(time) => {
                // Dates have whole seconds, and the difference must not be longer than the time.
                let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).max(1);
                let at = now.0.saturating_add(seconds.saturating_mul(1_000));
                http_date(WallTime(at))
            }
            Expires::Zero => "0".to_owned(),
        });
        for (name, value) in [
            (header::DATE, Some(http_date(now))),
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

impl From<Denied> for AdobeResponse {
    fn from(denied: Denied) -> Self {
        Self::stating(StatusCode::UNAUTHORIZED, &denied.to_string())
    }
}

impl From<ClientError> for AdobeResponse {
    fn from(error: ClientError) -> Self {
        let retry_after = error.retry_after().unwrap_or(RETRY_AFTER);
        match error {
            ClientError::Refused(problem) if problem.code == Code::Throttled => {
                Self::throttled(retry_after)
            }
            ClientError::Refused(problem) if !problem.retryable => Self::bad(&problem.to_string()),
            error => {
                tracing::warn!(%error, "cannot answer a request to Adobe's API; the client gets 503");
                Self::new(StatusCode::SERVICE_UNAVAILABLE).expires_in(retry_after)
            }
        }
    }
}

impl IntoResponse for AdobeResponse {
    /// The time of day is for `Date` and `Expires`. No decision uses it.
    #[allow(
        clippy::disallowed_methods,
        reason = "HTTP dates are the API's; their difference is what clients use"
    )]
    fn into_response(self) -> Response {
        self.at(WallTime(Timestamp::now().as_millisecond()))
    }
}

/// A time in the form of HTTP, with whole seconds.
fn http_date(at: WallTime) -> String {
    let time = Timestamp::from_millisecond(at.0).unwrap_or_default();
    let shown = DateTimePrinter::new().timestamp_to_rfc9110_string(&time);
    shown.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Problem;

    /// 2022-01-01T12:00:00.900Z
    const AT: WallTime = WallTime(1_641_038_400_900);

    fn header(response: &Response, name: header::HeaderName) -> Option<&str> {
        response.headers().get(name)?.to_str().ok()
    }

    #[test]
    fn an_opened_session_has_its_id_and_the_time_of_its_next_heartbeat() {
        let response = AdobeResponse::new(StatusCode::ACCEPTED)
            .expires_in(Duration::from_millis(60_000))
            .with_location("76378b50-4eb0-43b4-b144-51cb62d85563".to_owned());
        let response = response.at(AT);
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
            AdobeResponse::new(StatusCode::ACCEPTED).expires_in(Duration::from_millis(300));
        let expires = header(&response.at(AT), header::EXPIRES).map(str::to_owned);
        assert_eq!(expires.as_deref(), Some("Sat, 01 Jan 2022 12:00:01 GMT"));
    }

    #[test]
    fn a_throttled_request_is_valid_again_at_its_expiry() {
        let response = AdobeResponse::throttled(Duration::from_millis(20_100));
        assert_eq!((response.status.as_u16(), &response.body), (429, &None));
        let expires = header(&response.at(AT), header::EXPIRES).map(str::to_owned);
        assert_eq!(expires.as_deref(), Some("Sat, 01 Jan 2022 12:00:21 GMT"));
    }

    #[test]
    fn each_failure_has_its_status() {
        let unavailable = ClientError::BadReply("amqp://secret".to_owned());
        let waited = Duration::from_secs(2);
        let throttled = ClientError::Refused(Problem::throttled(2_000));
        for (response, status) in [
            (AdobeResponse::from(Denied::Missing), 401),
            (AdobeResponse::bad(""), 400),
            (AdobeResponse::no_session(), 404),
            (ClientError::NotTaken(waited).into(), 503),
            (throttled.into(), 429),
            (unavailable.into(), 503),
        ] {
            assert_eq!(response.status, status);
            let body = response.body.map(|body| body.to_string());
            assert!(!body.is_some_and(|body| body.contains("secret")));
        }
    }
}
