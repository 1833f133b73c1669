//! An edge whose wall clock is stepped.

use std::{net::SocketAddr, time::Duration};

use axum::http::Method;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use serde_json::json;
use streamwatch::client::StreamId;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::tokens::{SECRET, of};
use super::{id, stream_of, streams_of};
use crate::fixture::{
    Broker, Clock, Edge, Folder, Installation, KeptConnection, PATIENCE, account, eventually,
    playing, seconds, tenant,
};

const HOUR_S: i64 = 3_600;
/// Requests per second of an account; the burst is twice as many.
const RATE: usize = 20;

fn configured() -> String {
    format!(
        r#"
        applications = [{{ id = "web", tenant = "acme" }}]
        [[tokens]]
        tenant = "acme"
        leeway_seconds = 0
        keys = [{{ id = "k1", algorithm = "HS256", secret = "{SECRET}" }}]"#
    )
}

fn application() -> String {
    format!("Basic {}", STANDARD.encode("web:"))
}

/// Sends heartbeats of a stream on one connection until `ended`. The edge must store each one.
async fn plays(at: SocketAddr, stream: StreamId, ended: watch::Receiver<bool>) -> usize {
    let mut connection = KeptConnection::open(at).await;
    let path = format!("{}/heartbeat", stream_of("alice", stream));
    let mut stored = 0;
    while !*ended.borrow() {
        let headers = [("authorization", &*application())];
        let response = connection.post(&path, &headers, "").await;
        assert_eq!(response.status, 204, "after {stored}: {response:?}");
        stored += 1;
        sleep(Duration::from_millis(200)).await;
    }
    stored
}

/// The status of a request with a token that is valid from `nbf` to `exp`, in seconds from now.
async fn with(edge: &Edge, nbf: i64, exp: i64) -> u16 {
    let (nbf, exp) = (seconds() + nbf, seconds() + exp);
    let token = format!(
        "Bearer {}",
        of(&json!({"sub": "bob", "nbf": nbf, "exp": exp}))
    );
    let headers = [("authorization", &*token)];
    let path = "/api/v1/accounts/bob";
    edge.send(Method::GET, path, &headers, "").await.status
}

/// Sends requests of an account at once. Returns the number of admitted ones.
async fn admitted(edge: &Edge, requests: usize) -> usize {
    let sent = (0..requests).map(async |_| {
        let headers = [("authorization", &*application())];
        let path = "/api/v1/accounts/fast";
        edge.send(Method::GET, path, &headers, "").await.status
    });
    let sent = join_all(sent).await;
    sent.iter().filter(|status| **status != 429).count()
}

#[tokio::test]
#[ignore = "it needs faketime: `tests/run --all`"]
async fn a_step_of_the_clock_changes_the_validity_of_tokens_and_nothing_else() {
    let installation = Installation::declared(Broker::shared().await, "3s").await;
    let _worker = installation.ready_worker().await;
    let folder = Folder::new();
    let access = folder.write("access.toml", &configured());
    let clock = Clock::wrong_by("+0");
    let rate = RATE.to_string();
    let arguments = ["--access", &access, "--account-requests-per-second", &rate];
    let mut edge = clock.edge(&installation, &arguments);
    edge.ready().await;
    let backend = installation.backend();
    let headers = [("authorization", &*application())];
    let open = async |name: &str| {
        let path = streams_of(name);
        let opened = edge.send(Method::POST, &path, &headers, "").await;
        id(&opened.is(201).json)
    };
    let stream = open("alice").await;
    let (end, ended) = watch::channel(false);
    let player = tokio::spawn(plays(edge.http, stream, ended));

    let half = HOUR_S / 2;
    for (offset, hours) in [("+0", 0), ("+1h", 1), ("-1h", -1), ("+1h", 1), ("+0", 0)] {
        // The limit of the account is used up. A step does not renew it, and does not end it.
        let began = Instant::now();
        eventually(PATIENCE, "requests are throttled", async || {
            let admitted = admitted(&edge, 4 * RATE).await;
            (admitted < 4 * RATE).then_some(()).ok_or(admitted)
        })
        .await;
        clock.step(offset);
        let more = admitted(&edge, 4 * RATE).await;
        let renewed = (RATE as f64 * began.elapsed().as_secs_f64()) as usize;
        assert!(more <= renewed + 1, "{offset}: {more} of {renewed}");
        eventually(PATIENCE, "a request is admitted again", async || {
            let admitted = admitted(&edge, 1).await;
            (admitted == 1).then_some(()).ok_or(offset)
        })
        .await;
        // Tokens follow the wall clock.
        let now = hours * HOUR_S;
        for (nbf, exp, expected) in [
            (now - half, now + half, 200),
            (now - half, now - 60, 401),
            (now + 60, now + half, 401),
        ] {
            let status = with(&edge, nbf, exp).await;
            assert_eq!(status, expected, "{offset}: from {nbf} to {exp} s");
        }
        // A stop is known, and stays known across the step.
        let stopped = open("carol").await;
        let at = format!("{}/heartbeat", stream_of("carol", stopped));
        let (acme, carol) = (tenant(), account("carol"));
        let sent = backend.stop(&acme, &carol, stopped).await;
        sent.expect("a confirm");
        let gone = async || edge.send(Method::POST, &at, &headers, "").await.status;
        eventually(PATIENCE, "the edge has learned of the end", async || {
            let status = gone().await;
            (status == 410).then_some(()).ok_or(status)
        })
        .await;
        clock.step("+0");
        assert_eq!(gone().await, 410, "{offset}");
        // A stream expires one TTL later, by the log and not by this clock.
        let silent = open("silent").await;
        clock.step(offset);
        assert_eq!(playing(&backend, "silent").await, [silent], "{offset}");
        eventually(PATIENCE, "it has expired", async || {
            let left = playing(&backend, "silent").await;
            left.is_empty().then_some(()).ok_or(left)
        })
        .await;
        assert_eq!(playing(&backend, "alice").await, [stream], "{offset}");
    }
    let _ = end.send(true);
    let stored = player.await.expect("each heartbeat was stored");
    assert!(stored > 20, "{stored}");
    assert_eq!(
        edge.metric("streamwatch_edge_refused_total", "early_token")
            .await,
        5.0
    );
    assert_eq!(
        edge.metric("streamwatch_edge_refused_total", "expired_token")
            .await,
        5.0
    );
}
