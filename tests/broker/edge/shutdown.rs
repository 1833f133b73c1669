//! SIGTERM under load.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::http::Method;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use streamwatch::client::StreamId;
use tokio::{net::TcpStream, task::JoinSet};

use super::stream_of;
use crate::fixture::{
    Broker, Edge, Installation, PATIENCE, eventually, heavy, playing, read, request,
};

/// Sends heartbeats of streams of `name` on one connection until the edge closes it. Returns those
/// that were confirmed. Each request that was sent has a response.
async fn beats(edge: std::net::SocketAddr, name: String, sent: Arc<AtomicUsize>) -> Vec<StreamId> {
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
    heavy().await;
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
