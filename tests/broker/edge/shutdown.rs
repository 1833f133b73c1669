//! SIGTERM under load, at once and after a drain.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::Method;
use futures_util::future::join_all;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use streamwatch::client::StreamId;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

use super::stream_of;
use crate::fixture::{
    Broker, Edge, Installation, PATIENCE, cli, eventually, exit, heavy, playing, read, request,
};

/// Sends heartbeats of streams of `name` on one connection until the edge closes it. Returns those
/// that were confirmed. Each request that was sent has a response.
async fn beats(edge: SocketAddr, name: String, sent: Arc<AtomicUsize>) -> Vec<StreamId> {
    let stream = TcpStream::connect(edge).await.expect("it accepts");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    let connection = tokio::spawn(connection);
    let mut confirmed = Vec::new();
    // Fails once the edge has closed the connection after a response.
    while sender.ready().await.is_ok() {
        let stream = StreamId::generate();
        let path = format!("{}/heartbeat", stream_of(&name, stream));
        match sender
            .try_send_request(request(Method::POST, &path, &[], ""))
            .await
        {
            Ok(response) => {
                let response = read(response).await.expect("a whole response");
                assert_eq!(response.status, 204, "{response:?}");
                confirmed.push(stream);
                sent.fetch_add(1, Ordering::Relaxed);
            }
            // The edge has closed the connection before it has read the request.
            Err(error) if error.message().is_some() => break,
            Err(error) => {
                let error = error.into_error();
                assert!(
                    error.is_canceled() || error.is_closed() || error.is_incomplete_message(),
                    "{error:?}"
                );
                break;
            }
        }
        if confirmed.len() == 90 {
            break;
        }
    }
    connection.abort();
    confirmed
}

#[tokio::test]
async fn a_shutdown_under_load_answers_each_request_and_loses_no_confirmed_heartbeat() {
    let _heavy = heavy().await;
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let mut edge = Edge::open_to_all(&installation, &[]).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut players = JoinSet::new();
    for n in 0..20 {
        let (at, name, sent) = (edge.http, format!("viewer-{n}"), Arc::clone(&sent));
        players.spawn(async move { (name.clone(), beats(at, name, sent).await) });
    }
    eventually(PATIENCE, "there is load", async || {
        let sent = sent.load(Ordering::Relaxed);
        (sent >= 100).then_some(()).ok_or(sent)
    })
    .await;
    edge.process.signal("TERM");
    let ended = edge.process.ended().await;
    assert!(ended.success(), "{}", edge.process.stderr());
    let backend = installation.backend();
    let mut confirmed = 0;
    for (name, streams) in players.join_all().await {
        let playing = playing(&backend, &name).await;
        confirmed += streams.len();
        for stream in streams {
            assert!(playing.contains(&stream), "{name}: {stream} is lost");
        }
    }
    assert!(confirmed >= 100, "{confirmed}");
    assert!(
        !edge.process.stderr().contains("exceeded --grace"),
        "{}",
        edge.process.stderr()
    );
}

/// Sends heartbeats of streams of `name`: on one connection until the edge ends it with a response, then
/// on the next one, until five have ended. Returns the streams. No request fails.
async fn beats_while_it_drains(edge: SocketAddr, name: String) -> Vec<StreamId> {
    let mut confirmed = Vec::new();
    for _ in 0..5 {
        let stream = TcpStream::connect(edge).await.expect("it accepts");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        let connection = tokio::spawn(connection);
        loop {
            let stream = StreamId::generate();
            let path = format!("{}/heartbeat", stream_of(&name, stream));
            let sent = sender.send_request(request(Method::POST, &path, &[], ""));
            let response = read(sent.await.expect("a response")).await;
            let response = response.expect("a whole response").is(204);
            confirmed.push(stream);
            if response.header("connection") == Some("close") {
                break;
            }
        }
        connection.await.expect("no panic").expect("an orderly end");
    }
    confirmed
}

#[tokio::test]
async fn a_draining_edge_is_not_ready_and_answers_each_request_on_new_and_old_connections() {
    let _heavy = heavy().await;
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let mut edge = Edge::open_to_all(&installation, &["--drain", "5s"]).await;
    let mut players = JoinSet::new();
    for n in 0..10 {
        let (at, name) = (edge.http, format!("viewer-{n}"));
        players.spawn(async move { (name.clone(), beats_while_it_drains(at, name).await) });
    }
    eventually(PATIENCE, "there is load", async || {
        let sent = edge.metric("streamwatch_edge_requests_total", "").await;
        (sent >= 100.0).then_some(()).ok_or(sent)
    })
    .await;
    let signalled = Instant::now();
    edge.process.signal("TERM");
    eventually(PATIENCE, "the edge is not ready", async || {
        let status = edge.readiness().await;
        (status == Some(503)).then_some(()).ok_or(status)
    })
    .await;
    // Until a load balancer has noticed, it opens connections.
    let late = beats_while_it_drains(edge.http, "late".to_owned()).await;
    assert_eq!(late.len(), 5, "each response ends its connection");
    let players = players.join_all().await;
    assert_eq!(edge.process.has_ended(), None);
    let status = edge.process.ended().await;
    assert!(status.success(), "{}", edge.process.stderr());
    assert!(signalled.elapsed() >= Duration::from_secs(5));
    let backend = installation.backend();
    for (name, streams) in players {
        let playing = playing(&backend, &name).await;
        // An account has at most 100 active streams.
        let lost = streams
            .iter()
            .take(100)
            .filter(|one| !playing.contains(one));
        assert_eq!(lost.count(), 0, "{name}");
    }
}

#[tokio::test]
async fn a_draining_edge_ends_http2_after_the_requests_in_progress() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let mut edge = Edge::open_to_all(&installation, &["--drain", "4s"]).await;
    let at = edge.http;
    let connect = async || {
        let stream = TcpStream::connect(at).await.expect("it accepts");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.expect("HTTP/2");
        (sender, tokio::spawn(connection))
    };
    let beat = |sender: &http2::SendRequest<_>, n: usize| {
        let mut sender = sender.clone();
        async move {
            let path = format!(
                "http://edge{}/heartbeat",
                stream_of(&format!("viewer-{n}"), StreamId::generate())
            );
            let sent = sender.send_request(request(Method::POST, &path, &[], ""));
            let response = read(sent.await.expect("a response")).await;
            response.expect("a body").is(204);
        }
    };
    let (sender, connection) = connect().await;
    beat(&sender, 0).await;
    edge.process.signal("TERM");
    join_all((1..20).map(|n| beat(&sender, n))).await;
    let ended = tokio::time::timeout(PATIENCE, connection).await;
    let ended = ended.expect("GOAWAY").expect("no panic");
    ended.expect("an orderly end");
    assert_eq!(edge.process.has_ended(), None);

    let (sender, connection) = connect().await;
    join_all((20..40).map(|n| beat(&sender, n))).await;
    let ended = tokio::time::timeout(PATIENCE, connection).await;
    let ended = ended.expect("GOAWAY").expect("no panic");
    ended.expect("an orderly end");
    assert!(edge.process.ended().await.success());
}

#[tokio::test]
async fn the_first_request_of_an_accepted_connection_is_answered_during_a_shutdown() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let mut edge = Edge::open_to_all(&installation, &[]).await;
    let stream = TcpStream::connect(edge.http).await.expect("it accepts");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    let connection = tokio::spawn(connection);
    eventually(PATIENCE, "the connection is accepted", async || {
        let open = edge.metric("streamwatch_edge_connections", "").await;
        (open == 1.0).then_some(()).ok_or(open)
    })
    .await;
    edge.process.signal("TERM");
    eventually(PATIENCE, "the shutdown has begun", async || {
        let log = edge.process.stderr();
        log.contains("SIGTERM").then_some(()).ok_or(log)
    })
    .await;
    let path = format!("{}/heartbeat", stream_of("alice", StreamId::generate()));
    let sent = sender.send_request(request(Method::POST, &path, &[], ""));
    let response = read(sent.await.expect("a response")).await;
    let response = response.expect("a whole response").is(204);
    assert_eq!(response.header("connection"), Some("close"));
    connection.await.expect("no panic").expect("an orderly end");
    assert!(edge.process.ended().await.success());
}

#[tokio::test]
async fn a_drain_that_is_no_shorter_than_the_shutdown_is_a_mistake() {
    let arguments = [
        "edge",
        "--http",
        "127.0.0.1:0",
        "--insecure-no-auth",
        "acme",
    ];
    let drain = ["--drain", "10s", "--grace", "10s"];
    let all = [&arguments[..], &drain].concat();
    let ended = cli(Broker::shared().await, "x-", &all).await;
    ended
        .exits(exit::WRONG_SETTINGS)
        .reports("shorter than --grace");
}
