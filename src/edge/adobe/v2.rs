//! Version 2 of the API.

use std::time::Duration;

use axum::http::StatusCode;

use super::{
    call::Call,
    ended::{EndedBy, terminated, termination_code, termination_codes},
    evaluation::refresh_metadata,
    response::{AdobeResponse, Outcome},
    sessions::{Subject, is_by_rules, is_of_an_edge},
};
use crate::{
    client::{MAX_REPLACED, Opening, StopCause, StreamId, StreamState},
    edge::HeartbeatReply,
};

/// The header with the codes of sessions to terminate.
const TERMINATE: &str = "x-terminate";

fn subject(call: &Call) -> Outcome<Subject<'_>> {
    call.subject(call.caller())
}

/// The subject and its session, whose requests are counted.
fn session(call: &Call) -> Outcome<(Subject<'_>, StreamId)> {
    let (subject, id) = (subject(call)?, call.session()?);
    subject.admit(id)?;
    Ok((subject, id))
}

/// `GET /v2/metadata`: the metadata keys that the application must send.
pub(super) async fn metadata(call: Call) -> Outcome {
    let application = call.application(&call.caller()?)?;
    let keys = application.required().collect();
    Ok(AdobeResponse::new(StatusCode::OK).with_body(keys))
}

/// `POST /v2/sessions/{idp}/{subject}`: opens a session.
pub(super) async fn open(call: Call) -> Outcome {
    let subject = subject(&call)?;
    subject.admit_open()?;
    let sent = call.attributes()?;
    if sent.lack_required(subject.application) {
        return Err(AdobeResponse::new(StatusCode::BAD_REQUEST).with_body(refresh_metadata()));
    }
    let terminated = chosen(&call, &subject).await?;
    let superseded: Vec<_> = terminated.iter().map(|id| termination_code(*id)).collect();
    let metadata = sent.of_session(subject.application, &superseded);
    let (metadata, omitted) = metadata.map_err(|problem| AdobeResponse::bad(&problem))?;
    if omitted > 0 {
        tracing::debug!(
            omitted,
            "a session has more metadata than a stream can store; the rest is omitted"
        );
    }
    let id = StreamId::generate();
    let (applied, opening) = subject.open(id, metadata, terminated).await?;
    Ok(match opening {
        Opening::Opened { .. } => AdobeResponse::new(StatusCode::ACCEPTED)
            .expires_in(call.interval())
            .with_location(id.to_string()),
        Opening::Refused {
            refusal, activity, ..
        } if is_by_rules(&refusal) => {
            let view = subject.view();
            let violations = view.violations(&applied, &refusal.conflicts, &activity);
            AdobeResponse::new(StatusCode::CONFLICT).with_body(violations)
        }
        Opening::Refused { refusal, .. } => {
            let wait = refusal
                .retry_after_ms
                .map_or(Duration::from_secs(60), Duration::from_millis);
            AdobeResponse::new(StatusCode::SERVICE_UNAVAILABLE).expires_in(wait)
        }
    })
}

/// The sessions whose codes are in the header.
async fn chosen(call: &Call, subject: &Subject<'_>) -> Outcome<Vec<StreamId>> {
    let values = call.headers.get_all(TERMINATE).into_iter();
    let codes = termination_codes(values.filter_map(|value| value.to_str().ok()));
    if codes.is_empty() || !subject.application.may_terminate {
        return Ok(Vec::new());
    }
    if codes.len() > MAX_REPLACED {
        let most = format!("X-Terminate has at most {MAX_REPLACED} termination codes");
        return Err(AdobeResponse::bad(&most));
    }
    let status = subject.status(None).await?;
    Ok(terminated(&codes, &status.activity))
}

/// `POST /v2/sessions/{idp}/{subject}/{session}`: a heartbeat.
pub(super) async fn heartbeat(call: Call) -> Outcome {
    let (subject, id) = session(&call)?;
    let metadata = call.attributes()?.of_heartbeat();
    match subject.heartbeat(id, metadata).await? {
        HeartbeatReply::Stored { .. } => {
            let accepted = AdobeResponse::new(StatusCode::ACCEPTED);
            Ok(accepted.expires_in(call.interval()))
        }
        HeartbeatReply::Stopped(cause) => gone(&subject, &cause).await,
        HeartbeatReply::Expired if is_of_an_edge(id) => Ok(AdobeResponse::new(StatusCode::GONE)),
        HeartbeatReply::Expired => Err(AdobeResponse::no_session()),
    }
}

/// The response to the heartbeat of an ended session.
async fn gone(subject: &Subject<'_>, cause: &StopCause) -> Outcome {
    let by = EndedBy::of(cause);
    if by == EndedBy::Unstated {
        return Ok(AdobeResponse::new(StatusCode::GONE));
    }
    let activity = subject.status(None).await?.activity;
    let view = subject.view();
    if let EndedBy::Policy(successor) = by {
        let violations = view.replaced(successor, &activity);
        return Ok(AdobeResponse::new(StatusCode::CONFLICT).with_body(violations));
    }
    let mut response = AdobeResponse::new(StatusCode::GONE);
    response.body = view.ended(&by, &activity);
    Ok(response)
}

/// `DELETE /v2/sessions/{idp}/{subject}/{session}`: the end of a session.
pub(super) async fn terminate(call: Call) -> Outcome {
    let (subject, id) = session(&call)?;
    // Without a worker, the stop is stored all the same.
    let status = subject.status(Some(id)).await;
    let state = status.ok().and_then(|status| status.state);
    match state.unwrap_or(StreamState::Active) {
        StreamState::Active => {
            subject.stop(id).await?;
            Ok(AdobeResponse::new(StatusCode::ACCEPTED))
        }
        StreamState::Unknown if !is_of_an_edge(id) => Err(AdobeResponse::no_session()),
        StreamState::Stopped | StreamState::Expired | StreamState::Unknown => {
            Ok(AdobeResponse::new(StatusCode::GONE))
        }
    }
}

/// `GET /v2/runningStreams/{idp}/{subject}`: the active sessions of an account.
pub(super) async fn running(call: Call) -> Outcome {
    let subject = subject(&call)?;
    let activity = subject.status(None).await?.activity;
    let body = subject.view().running(&activity);
    let response = AdobeResponse::new(StatusCode::OK).with_body(body);
    let times = activity.streams.iter().map(|stream| stream.expires_in_ms);
    Ok(match times.min() {
        Some(ms) => response.expires_in(Duration::from_millis(ms)),
        None => response,
    })
}
