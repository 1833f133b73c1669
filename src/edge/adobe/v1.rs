//! Version 1 of the API.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    call::Call,
    ended::created,
    policy::{APPLICATION, Application},
    response::{AdobeResponse, Expires, Outcome},
    sessions::{Subject, is_of_an_edge},
};
use crate::{
    client::{AccountStatus, Activity, Metadata, Opening, StreamId, StreamState, WallTime},
    edge::HeartbeatReply,
};

fn subject(call: &Call) -> Outcome<Subject<'_>> {
    let access = &call.edge.access;
    call.subject(access.identify_application(&call.at.application))
}

fn response(outcome: Outcome) -> AdobeResponse {
    let mut response = outcome.unwrap_or_else(|failure| failure);
    response.expires.get_or_insert(Expires::Zero);
    response
}

/// `POST /v1/{application}/{mvpd}/accounts/{account}/streams`: opens a stream.
pub(super) async fn open(call: Call) -> AdobeResponse {
    let opened = async {
        let subject = subject(&call)?;
        subject.admit_open()?;
        let metadata = call.attributes()?.of_session(subject.application, &[]);
        let (metadata, _) = metadata.map_err(|problem| AdobeResponse::bad(&problem))?;
        let id = StreamId::generate();
        let (_, opening) = subject.open(id, metadata, Vec::new()).await?;
        let (is_compliant, start) = match opening {
            Opening::Opened { activity, .. } => (true, start_of(&activity, id)),
            Opening::Refused { .. } => (false, None),
        };
        let url = format!("{}/{id}", call.url().trim_end_matches('/'));
        let response = AdobeResponse::new(StatusCode::CREATED);
        let body = resource(&url, id, start, is_compliant);
        Ok(response.with_body(body).with_location(url))
    };
    response(opened.await)
}

/// `POST …/streams/{stream}?event=…`: a heartbeat, or the stop of a stream.
pub(super) async fn event(call: Call) -> AdobeResponse {
    let outcome = async {
        let (subject, id) = (subject(&call)?, call.session()?);
        subject.admit(id)?;
        match call.parameter("event").as_deref() {
            Some("alive") => alive(&subject, id).await?,
            Some("stop") => subject.stop(id).await?,
            _ => return Err(AdobeResponse::bad("event must be alive or stop")),
        }
        Ok(AdobeResponse::new(StatusCode::ACCEPTED))
    };
    response(outcome.await)
}

/// In version 1, a stream is active if an event has arrived within the TTL, so a heartbeat begins
/// it again.
async fn alive(subject: &Subject<'_>, stream: StreamId) -> Outcome<()> {
    if subject.heartbeat(stream, None).await? == HeartbeatReply::Expired {
        let mut application = [(APPLICATION, &*subject.application.id)];
        let metadata = Metadata::new(&mut application).unwrap_or_default();
        subject.resume(stream, metadata).await?;
    }
    Ok(())
}

/// `GET …/streams/{stream}`: whether a stream complies with the policies.
pub(super) async fn stream(call: Call) -> AdobeResponse {
    let outcome = async {
        let (subject, id) = (subject(&call)?, call.session()?);
        let status = subject.status(Some(id)).await?;
        if status.state == Some(StreamState::Unknown) && !is_of_an_edge(id) {
            return Err(AdobeResponse::no_session());
        }
        let start = start_of(&status.activity, id);
        let complies = complies(subject.application, &status, id);
        let body = resource(&call.url(), id, start, complies);
        Ok(AdobeResponse::new(StatusCode::OK).with_body(body))
    };
    response(outcome.await)
}

/// `GET …/streams`: the active streams of an account, with the fields of the parameter `fields`.
pub(super) async fn streams(call: Call) -> AdobeResponse {
    let fields = list(call.parameter("fields"));
    let streams = |activity: &Activity| {
        let streams = activity.streams.iter().map(|stream| {
            let mut shown = Map::new();
            shown.insert("streamId".to_owned(), json!(stream.stream.to_string()));
            shown.insert("streamStart".to_owned(), json!(stream.started_at.0));
            for field in &fields {
                let value = field_of(&call, field, &stream.metadata);
                shown.entry(field.clone()).or_insert_with(|| json!(value));
            }
            Value::Object(shown)
        });
        json!({"streams": streams.collect::<Vec<_>>()})
    };
    about_account(&call, streams).await
}

/// A field that version 1 has for every stream, or a metadata key.
fn field_of<'a>(call: &'a Call, field: &str, metadata: &'a Metadata) -> Option<&'a str> {
    match field {
        "application" => metadata.get(APPLICATION),
        "mvpd" => Some(&call.at.idp),
        "accountId" => Some(&call.at.subject),
        key => metadata.get(key),
    }
}

/// `GET …/activity`: the number of active streams, also by the metadata keys of the parameter
/// `dimensions`.
pub(super) async fn activity(call: Call) -> AdobeResponse {
    let dimensions = list(call.parameter("dimensions"));
    let counts = |activity: &Activity| {
        let by = dimensions.iter().map(|key| {
            let counts = activity.count_by(if key == "application" {
                APPLICATION
            } else {
                key
            });
            let counts = counts
                .into_iter()
                .map(|(value, count)| (value.to_owned(), json!(count)));
            (key.clone(), Value::Object(counts.collect()))
        });
        json!({"streams": activity.count(), "by": Value::Object(by.collect())})
    };
    about_account(&call, counts).await
}

/// The response with a body about an account's activity, and with its own address.
async fn about_account(call: &Call, body_of: impl FnOnce(&Activity) -> Value) -> AdobeResponse {
    let outcome = async {
        let activity = subject(call)?.status(None).await?.activity;
        let mut body = body_of(&activity);
        body["_links"] = json!({"self": {"href": call.url_with_query()}});
        Ok(AdobeResponse::new(StatusCode::OK).with_body(body))
    };
    response(outcome.await)
}

/// A stream as a resource of HAL.
fn resource(url: &str, id: StreamId, start: Option<WallTime>, is_compliant: bool) -> Value {
    let start = start.or_else(|| created(id)).unwrap_or_default();
    json!({
        "_links": {
            "self": {"href": url},
            "heartbeat": {"href": format!("{url}{{?event}}"), "templated": true},
        },
        "streamId": id.to_string(),
        "streamStart": start.0,
        "policyCompliant": is_compliant,
    })
}

fn start_of(activity: &Activity, id: StreamId) -> Option<WallTime> {
    Some(activity.stream(id)?.started_at)
}

/// Whether a stream may play: it was admitted, or began with a heartbeat and exceeds no limit.
fn complies(application: &Application, status: &AccountStatus, id: StreamId) -> bool {
    if status.state != Some(StreamState::Active) {
        return false;
    }
    let activity = &status.activity;
    activity.stream(id).is_none_or(|stream| {
        let applied = application.applied(&stream.metadata);
        stream.admitted
            || applied
                .iter()
                .all(|rule| rule.count(activity) <= rule.max())
    })
}

/// The parts of a list with commas, at most 16.
fn list(parameter: Option<String>) -> Vec<String> {
    let text = parameter.unwrap_or_default();
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.take(16).map(str::to_owned).collect()
}
