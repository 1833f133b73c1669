//! Version 2 of the API.

use std::time::Duration;

use axum::{extract::Path, http::StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{
    call::Call,
    ended::{EndedBy, codes, terminated, termination_code},
    response::{AdobeError, AdobeResponse, now},
    sessions::{Admission, NewSession, Sessions, Subject, is_by_rules, is_of_an_edge, session_id},
};
use crate::{
    client::{MAX_REPLACED, StopCause, StreamId, StreamState},
    edge::{Caller, HeartbeatReply},
};

/// The header with the codes of sessions to terminate.
pub(super) const TERMINATE: &str = "x-terminate";

/// The parts of the path.
#[derive(Deserialize)]
pub(super) struct PathParts {
    idp: String,
    subject: String,
    #[serde(default)]
    session: String,
}

impl PathParts {
    fn subject<'a>(&self, sessions: &'a Sessions, call: &Call) -> Result<Subject<'a>, AdobeError> {
        sessions.subject(&caller(sessions, call)?, &self.idp, &self.subject)
    }

    /// The subject and its session, whose requests are counted.
    fn session<'a>(
        &self,
        sessions: &'a Sessions,
        call: &Call,
    ) -> Result<(Subject<'a>, StreamId), AdobeError> {
        let subject = self.subject(sessions, call)?;
        let id = session_id(&self.session)?;
        sessions.admit_session(&subject, id)?;
        Ok((subject, id))
    }
}

type Outcome = Result<AdobeResponse, AdobeError>;

fn response(outcome: Outcome) -> AdobeResponse {
    outcome.unwrap_or_else(|failure| failure.response(now()))
}

fn caller(sessions: &Sessions, call: &Call) -> Result<Caller, AdobeError> {
    let access = &sessions.edge.access;
    access
        .identify(&call.headers, call.peer)
        .map_err(AdobeError::Denied)
}

/// `GET /v2/metadata`: the metadata keys that the application must send.
pub(super) async fn metadata(sessions: Sessions, call: Call) -> AdobeResponse {
    let required = || {
        let caller = caller(&sessions, &call)?;
        let keys: Vec<_> = sessions
            .application(&caller)?
            .required()
            .map(Value::from)
            .collect();
        Ok(AdobeResponse::new(StatusCode::OK, now()).with_body(keys.into()))
    };
    response(required())
}

/// `POST /v2/sessions/{idp}/{subject}`: opens a session.
pub(super) async fn open(
    sessions: Sessions,
    Path(at): Path<PathParts>,
    call: Call,
) -> AdobeResponse {
    let opened = async {
        let subject = at.subject(&sessions, &call)?;
        sessions.admit_account(&subject)?;
        let sent = call.attributes()?;
        if sent.lack_required(subject.application) {
            return Err(AdobeError::MissingMetadata);
        }
        let terminated = chosen(&sessions, &subject, &call).await?;
        let superseded: Vec<_> = terminated.iter().map(|id| termination_code(*id)).collect();
        let metadata = sent.of_session(subject.application, &superseded);
        let metadata = metadata.map_err(|error| AdobeError::Bad(error.to_string()))?;
        if metadata.omitted > 0 {
            tracing::debug!(
                omitted = metadata.omitted,
                "a session has more metadata than a stream can store; the rest is omitted"
            );
        }
        let session = NewSession {
            stream: StreamId::generate(),
            metadata: metadata.metadata,
            terminated,
        };
        let id = session.stream;
        let admission = sessions.open(&subject, session).await?;
        Ok(decided(&sessions, &subject, id, &admission))
    };
    response(opened.await)
}

/// The sessions whose codes are in the header.
async fn chosen(
    sessions: &Sessions,
    subject: &Subject<'_>,
    call: &Call,
) -> Result<Vec<StreamId>, AdobeError> {
    let values = call.headers.get_all(TERMINATE).into_iter();
    let codes = codes(values.filter_map(|value| value.to_str().ok()));
    if codes.is_empty() || !subject.application.may_terminate {
        return Ok(Vec::new());
    }
    if codes.len() > MAX_REPLACED {
        let most = format!("X-Terminate has at most {MAX_REPLACED} termination codes");
        return Err(AdobeError::Bad(most));
    }
    let status = sessions.status(subject, None).await?;
    Ok(terminated(&codes, &status.activity))
}

fn decided(
    sessions: &Sessions,
    subject: &Subject<'_>,
    id: StreamId,
    admission: &Admission<'_>,
) -> AdobeResponse {
    match admission {
        Admission::Opened(_) => {
            let accepted = AdobeResponse::new(StatusCode::ACCEPTED, now());
            accepted
                .expires_in(sessions.interval())
                .with_location(id.to_string())
        }
        Admission::Refused {
            applied,
            refusal,
            activity,
        } if is_by_rules(refusal) => {
            let view = sessions.view(subject);
            let violations = view.violations(applied, &refusal.conflicts, activity);
            AdobeResponse::new(StatusCode::CONFLICT, now()).with_body(violations)
        }
        Admission::Refused { refusal, .. } => {
            let wait = refusal
                .retry_after_ms
                .map_or(Duration::from_secs(60), Duration::from_millis);
            AdobeResponse::new(StatusCode::SERVICE_UNAVAILABLE, now()).expires_in(wait)
        }
    }
}

/// `POST /v2/sessions/{idp}/{subject}/{session}`: a heartbeat.
pub(super) async fn heartbeat(
    sessions: Sessions,
    Path(at): Path<PathParts>,
    call: Call,
) -> AdobeResponse {
    let outcome = async {
        let (subject, id) = at.session(&sessions, &call)?;
        let metadata = call.attributes()?.of_heartbeat();
        match sessions.heartbeat(&subject, id, metadata).await? {
            HeartbeatReply::Stored { .. } => {
                let accepted = AdobeResponse::new(StatusCode::ACCEPTED, now());
                Ok(accepted.expires_in(sessions.interval()))
            }
            HeartbeatReply::Stopped(cause) => gone(&sessions, &subject, &cause).await,
            HeartbeatReply::Expired if is_of_an_edge(id) => {
                Ok(AdobeResponse::new(StatusCode::GONE, now()))
            }
            HeartbeatReply::Expired => Err(AdobeError::NoSession),
        }
    };
    response(outcome.await)
}

/// The response to the heartbeat of an ended session.
async fn gone(sessions: &Sessions, subject: &Subject<'_>, cause: &StopCause) -> Outcome {
    let by = EndedBy::of(cause);
    if by == EndedBy::Unstated {
        return Ok(AdobeResponse::new(StatusCode::GONE, now()));
    }
    let activity = sessions.status(subject, None).await?.activity;
    let view = sessions.view(subject);
    if let EndedBy::Policy(successor) = by {
        let violations = view.replaced(successor, &activity);
        return Ok(AdobeResponse::new(StatusCode::CONFLICT, now()).with_body(violations));
    }
    let body = view.ended(&by, &activity);
    let response = AdobeResponse::new(StatusCode::GONE, now());
    Ok(match body {
        Some(body) => response.with_body(body),
        None => response,
    })
}

/// `DELETE /v2/sessions/{idp}/{subject}/{session}`: the end of a session.
pub(super) async fn terminate(
    sessions: Sessions,
    Path(at): Path<PathParts>,
    call: Call,
) -> AdobeResponse {
    let ended = async {
        let (subject, id) = at.session(&sessions, &call)?;
        // Without a worker, the stop is stored all the same.
        let status = sessions.status(&subject, Some(id)).await;
        let state = status.ok().and_then(|status| status.state);
        match state.unwrap_or(StreamState::Active) {
            StreamState::Active => {
                sessions.stop(&subject, id).await?;
                Ok(AdobeResponse::new(StatusCode::ACCEPTED, now()))
            }
            StreamState::Unknown if !is_of_an_edge(id) => Err(AdobeError::NoSession),
            StreamState::Stopped | StreamState::Expired | StreamState::Unknown => {
                Ok(AdobeResponse::new(StatusCode::GONE, now()))
            }
        }
    };
    response(ended.await)
}

/// `GET /v2/runningStreams/{idp}/{subject}`: the active sessions of an account.
pub(super) async fn running(
    sessions: Sessions,
    Path(at): Path<PathParts>,
    call: Call,
) -> AdobeResponse {
    let outcome = async {
        let subject = at.subject(&sessions, &call)?;
        let activity = sessions.status(&subject, None).await?.activity;
        let body = sessions.view(&subject).running(&activity);
        let response = AdobeResponse::new(StatusCode::OK, now()).with_body(body);
        let first = activity
            .streams
            .iter()
            .map(|stream| stream.expires_in_ms)
            .min();
        Ok(match first {
            Some(ms) => response.expires_in(Duration::from_millis(ms)),
            None => response,
        })
    };
    response(outcome.await)
}
