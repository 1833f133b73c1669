//! The story of two devices, by both versions of the API, with the counts that a backend gets.

use std::time::Duration;

use axum::http::Method;
use streamwatch::client::Backend;

use super::{Adobe, session, stream, text};
use crate::fixture::{Broker, Installation, PATIENCE, eventually, playing};

const POLICIES: &str = "applications = [{id = \"app\"}]";

async fn count(backend: &Backend, expected: usize) {
    let streams = playing(backend, "cable/alice").await;
    assert_eq!(streams.len(), expected, "{streams:?}");
}

/// Waits for the end of a stream without heartbeats, while the other one plays on.
async fn expires(backend: &Backend) {
    eventually(PATIENCE, "the television expires", async || {
        let streams = playing(backend, "cable/alice").await;
        streams.is_empty().then_some(()).ok_or(streams)
    })
    .await;
}

#[tokio::test]
async fn two_devices_are_counted_by_version_2() {
    let installation = Installation::declared(Broker::shared().await, "3s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &["app"], POLICIES).await;
    let backend = installation.backend();
    let app = adobe.application("app");
    let sessions = "/v2/sessions/cable/alice";
    let open = async || session(&app.send(Method::POST, sessions, &[], "").await);
    count(&backend, 0).await;
    let television = open().await;
    count(&backend, 1).await;
    let phone = open().await;
    count(&backend, 2).await;
    for id in [&television, &phone] {
        let of_it = format!("{sessions}/{id}");
        app.send(Method::POST, &of_it, &[], "").await.is(202);
    }
    count(&backend, 2).await;
    let of_phone = format!("{sessions}/{phone}");
    app.send(Method::DELETE, &of_phone, &[], "").await.is(202);
    assert_eq!(
        playing(&backend, "cable/alice").await,
        [stream(&television)]
    );
    expires(&backend).await;
    // An expired session does not come back by a heartbeat: only a new one is decided on.
    let of_television = format!("{sessions}/{television}");
    let gone = app
        .send(Method::POST, &of_television, &[], "")
        .await
        .is(410);
    assert_eq!(gone.text, "");
    count(&backend, 0).await;
}

#[tokio::test]
async fn two_devices_are_counted_by_version_1() {
    let installation = Installation::declared(Broker::shared().await, "3s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &["app"], POLICIES).await;
    let backend = installation.backend();
    let streams = "/v1/app/cable/accounts/alice/streams";
    let open = async || text(&adobe.edge.post(streams, "").await.is(201).json["streamId"]);
    let event = async |id: &str, event: &str| {
        let path = format!("{streams}/{id}?event={event}");
        adobe.edge.post(&path, "").await.is(202);
    };
    count(&backend, 0).await;
    let television = open().await;
    count(&backend, 1).await;
    let phone = open().await;
    count(&backend, 2).await;
    for id in [&television, &phone] {
        event(id, "alive").await;
    }
    count(&backend, 2).await;
    event(&phone, "stop").await;
    assert_eq!(
        playing(&backend, "cable/alice").await,
        [stream(&television)]
    );
    expires(&backend).await;
    // In version 1, a stream is active again with its next event.
    event(&television, "alive").await;
    assert_eq!(
        playing(&backend, "cable/alice").await,
        [stream(&television)]
    );
    let checked = adobe
        .edge
        .get(&format!("{streams}/{television}"))
        .await
        .is(200);
    assert_eq!(checked.json["policyCompliant"], true);
}

#[tokio::test]
async fn any_edge_keeps_and_ends_the_sessions_of_another() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let one = Adobe::start(&installation, &["app"], POLICIES).await;
    let other = Adobe::start(&installation, &["app"], POLICIES).await;
    let opened = one.application("app").open("alice", "").await;
    let id = session(&opened);
    other
        .application("app")
        .heartbeat("alice", &id)
        .await
        .is(202);
    other.application("app").delete("alice", &id).await.is(202);
    let backend = installation.backend();
    assert!(playing(&backend, "adobe/alice").await.is_empty());
    eventually(
        Duration::from_secs(20),
        "the first edge learns the end",
        async || {
            let beaten = one.application("app").heartbeat("alice", &id).await.status;
            (beaten == 410).then_some(()).ok_or(beaten)
        },
    )
    .await;
}
