//! Streams: open, heartbeat, stop, state.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    bodies::{self, ids, ms},
    described::{Fails, HasEnded, Heartbeat, IsRefused, OfAccount, OfStream, Open},
    problem::{ApiError, bodies::Refused},
    target::{Beacon, Body, Target},
};
use crate::{
    client::{OpenRequest, Opening, StatusQuery, StreamId},
    edge::{HeartbeatReply, UnknownStream},
};

/// The header that makes a retried POST open the same stream.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Longest value of that header, in bytes.
const MAX_IDEMPOTENCY_KEY: usize = 256;

/// Opens a stream. A retry with the same Idempotency-Key, or with the same stream in the body, opens
/// the same stream and does not count twice.
#[utoipa::path(
    post,
    path = "/api/v1/accounts/{account}/streams",
    operation_id = "open_stream",
    params(
        OfAccount,
        ("Idempotency-Key" = Option<String>, Header, description = "At most 256 bytes, the same for each attempt"),
    ),
    request_body(content = Option<Open>, content_type = "application/json"),
    responses(
        (status = 201, description = "The stream is active", body = bodies::Opened, headers(("Location" = String))),
        IsRefused,
        Fails,
    )
)]
pub(super) async fn open(
    target: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let key = headers.get(IDEMPOTENCY_KEY).map(HeaderValue::as_bytes);
    if key.is_some_and(|key| !(1..=MAX_IDEMPOTENCY_KEY).contains(&key.len())) {
        let detail = "the header must have 1 to 256 bytes";
        return Err(ApiError::bad("Idempotency-Key", detail));
    }
    let opened = decide(&target, body, None, key).await?;
    let account = utf8_percent_encode(target.account.as_str(), NON_ALPHANUMERIC);
    let location = format!("/api/v1/accounts/{account}/streams/{}", opened.stream);
    let location = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, location, Json(opened)).into_response())
}

/// Opens a stream with the player's own id. A repetition does not count twice.
#[utoipa::path(
    put,
    path = "/api/v1/accounts/{account}/streams/{stream}",
    operation_id = "put_stream",
    params(OfStream),
    request_body(content = Option<Open>, content_type = "application/json"),
    responses(
        (status = 200, description = "The stream is active", body = bodies::Opened),
        IsRefused,
        Fails,
    )
)]
pub(super) async fn put(target: Target, body: Body) -> Result<Json<bodies::Opened>, ApiError> {
    let stream = target.stream()?;
    decide(&target, body, Some(stream), None).await.map(Json)
}

/// Sends an `init`, and returns the stream that it opened.
async fn decide(
    target: &Target,
    body: Body,
    stream: Option<StreamId>,
    request_id: Option<&[u8]>,
) -> Result<bodies::Opened, ApiError> {
    let init = target.body(&body).init(stream, request_id)?;
    let request = OpenRequest {
        stream: Some(init.stream),
        metadata: init.metadata,
        max_active: init.max_active,
        replace: init.replace,
        terms: init.terms.map(|terms| *terms).unwrap_or_default(),
        group_by: init.group_by,
    };
    let players = &target.edge.players;
    let opened = players.open(&target.tenant, &target.account, &request);
    let (stream, opening) = opened.await?;
    match opening {
        Opening::Opened {
            heartbeat_every,
            ttl,
            replaced,
            activity,
            by,
            ..
        } => Ok(bodies::Opened {
            stream: stream.0,
            heartbeat_every_ms: ms(heartbeat_every),
            ttl_ms: ms(ttl),
            replaced: ids(&replaced),
            activity: bodies::Activity::new(activity, by),
        }),
        Opening::Refused {
            refusal,
            activity,
            by,
            ..
        } => {
            let activity = bodies::Activity::new(activity, by);
            let refused = Refused::new(stream, &refusal, activity);
            Err(ApiError::refused(refused, refusal.retry_after_ms))
        }
    }
}

/// Keeps a stream active. Sent every heartbeat_every_ms.
#[utoipa::path(
    post,
    path = "/api/v1/accounts/{account}/streams/{stream}/heartbeat",
    operation_id = "send_heartbeat",
    params(OfStream),
    request_body(content = Option<Heartbeat>, content_type = "application/json"),
    responses(
        (status = 200, description = "Stored; the interval has changed", body = bodies::Changed),
        (status = 204, description = "Stored"),
        HasEnded,
        Fails,
    )
)]
pub(super) async fn heartbeat(target: Target, body: Body) -> Result<Response, ApiError> {
    let heartbeat = target.body(&body).heartbeat(target.stream()?)?;
    let (tenant, account) = (&target.tenant, &target.account);
    let players = &target.edge.players;
    let sent = players.heartbeat(tenant, account, heartbeat, UnknownStream::Begins);
    match sent.await? {
        HeartbeatReply::Stored { changed: None } => Ok(StatusCode::NO_CONTENT.into_response()),
        HeartbeatReply::Stored {
            changed: Some(interval),
        } => Ok(Json(bodies::Changed::from(interval)).into_response()),
        HeartbeatReply::Stopped(cause) => Err(ApiError::ended(Some(cause))),
        HeartbeatReply::Expired => Err(ApiError::ended(None)),
    }
}

/// Returns the state of a stream, and the account's active streams.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{account}/streams/{stream}",
    operation_id = "stream_state",
    params(OfStream),
    responses(
        (status = 200, description = "The state", body = bodies::State),
        Fails,
    )
)]
pub(super) async fn state(target: Target) -> Result<Json<bodies::State>, ApiError> {
    let stream = target.stream()?;
    let query = StatusQuery {
        stream: Some(stream),
        ..StatusQuery::default()
    };
    let status = target.activity(&query).await?;
    Ok(Json(bodies::State {
        stream: stream.0,
        state: status.state.map_or("unknown", |state| state.as_str()),
        activity: bodies::Activity::new(status.activity, status.by),
    }))
}

/// Stops a stream. It does not count from then on, and stays stopped.
#[utoipa::path(
    delete,
    path = "/api/v1/accounts/{account}/streams/{stream}",
    operation_id = "stop_stream",
    params(OfStream),
    responses(
        (status = 204, description = "Stopped"),
        Fails,
    )
)]
pub(super) async fn delete(target: Target) -> Result<StatusCode, ApiError> {
    let stream = target.stream()?;
    let players = &target.edge.players;
    let stopped = players.stop(&target.tenant, &target.account, stream);
    stopped.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stops a stream, for navigator.sendBeacon: the body has any media type, and is empty or a form
/// with the credentials, as access_token or application.
#[utoipa::path(
    post,
    path = "/api/v1/accounts/{account}/streams/{stream}/stop",
    operation_id = "stop_stream_by_beacon",
    params(OfStream),
    responses(
        (status = 204, description = "Stopped"),
        Fails,
    )
)]
pub(super) async fn stop(Beacon(target): Beacon) -> Result<StatusCode, ApiError> {
    delete(target).await
}
