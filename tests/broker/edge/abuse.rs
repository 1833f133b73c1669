//! Clients that do not play by the rules.

use std::time::Duration;

use axum::http::Method;
use streamwatch::client::StreamId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{id, stream_of, streams_of};
use crate::fixture::{
    Broker, Edge, Folder, Installation, PATIENCE, call, eventually, playing, request,
};

/// Sends bytes, and reads until the edge closes the connection.
pub async fn raw(edge: &Edge, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(edge.http).await.expect("it accepts");
    // The edge may close it before it has read all.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
    let _ = read.expect("the edge closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn accounts_in_addresses_are_decoded_once_and_obey_the_contract() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let backend = installation.backend();
    for (encoded, name) in [
        ("a%2Fb", "a/b"),
        ("..", ".."),
        ("%2e%2e%2f", "../"),
        ("a%252Fb", "a%2Fb"),
        ("%C3%A9%20%23.*", "é #.*"),
        (&"x".repeat(128), &"x".repeat(128)),
    ] {
        let opened = edge.post(&streams_of(encoded), "").await.is(201);
        assert_eq!(opened.json["activity"]["account"], name);
        assert_eq!(playing(&backend, name).await, [id(&opened.json)]);
        let location = opened.header("location").expect("a location").to_owned();
        edge.delete(&location).await.is(204);
        assert!(playing(&backend, name).await.is_empty(), "{name}");
    }
    for bad in [
        "",
        "%00",
        "a%0Ab",
        "%7f",
        "%c2%85",
        "%ff",
        &"x".repeat(129),
        &"%C3%A9".repeat(65),
    ] {
        let response = edge.post(&streams_of(bad), "").await;
        assert_eq!(
            response.fails_with(400, "bad_field").json["field"],
            "account"
        );
    }
    for (path, status) in [
        ("/api/v1/accounts/", 404),
        ("/api/v1/accounts//streams/7", 400),
        ("/api/v1/accounts/a/../../../etc/passwd", 404),
        ("/", 404),
        ("/api/v1/accounts/a/streams/7", 400),
    ] {
        edge.get(path).await.is(status);
    }
    let long = format!("/api/v1/accounts/a?{}", "x".repeat(2_048));
    edge.get(&long).await.fails_with(414, "address_too_long");
    let patch = edge
        .send(Method::PATCH, "/api/v1/accounts/a", &[], "")
        .await;
    patch.fails_with(405, "method_not_allowed");
    let unknown = format!("{}/heartbeat", stream_of("a", StreamId::generate()));
    for (body, code) in [
        ("[", "bad_json"),
        ("7", "bad_json"),
        (r#"{"metadata":7}"#, "bad_field"),
    ] {
        edge.post(&unknown, body).await.fails_with(400, code);
    }
}

#[tokio::test]
async fn large_and_slow_requests_are_refused_and_others_are_served() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let arguments = [
        "--header-timeout",
        "1s",
        "--request-timeout",
        "1s",
        "--idle-timeout",
        "2s",
    ];
    let edge = Edge::open_to_all(&installation, &arguments).await;
    let large = format!(r#"{{"x":"{}"}}"#, "y".repeat(20_000));
    edge.post(&streams_of("a"), &large)
        .await
        .fails_with(413, "too_large");
    let chunked = format!(
        "POST /api/v1/accounts/a/streams HTTP/1.1\r\nhost: e\r\ntransfer-encoding: chunked\r\n\r\n\
         8000\r\n{}\r\n0\r\n\r\n",
        "x".repeat(0x8000)
    );
    assert!(
        raw(&edge, chunked.as_bytes())
            .await
            .starts_with("HTTP/1.1 413")
    );

    let head = "GET /api/v1/accounts/a HTTP/1.1\r\nhost: e\r\n";
    let many = format!("{head}{}\r\n", "x: y\r\n".repeat(100));
    assert!(
        raw(&edge, many.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    let wide = format!("{head}x: {}\r\n\r\n", "y".repeat(64 * 1_024));
    assert!(
        raw(&edge, wide.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );

    // Headers that never end, a body that never arrives, and nothing at all.
    assert_eq!(raw(&edge, head.as_bytes()).await, "");
    let waits = "POST /api/v1/accounts/a/streams HTTP/1.1\r\nhost: e\r\ncontent-length: 9\r\n\r\n";
    assert!(
        raw(&edge, waits.as_bytes())
            .await
            .starts_with("HTTP/1.1 408")
    );
    assert_eq!(raw(&edge, b"").await, "");
    assert!(
        raw(&edge, b"AMQP\0\0\x09\x01")
            .await
            .starts_with("HTTP/1.1 400")
    );
    let slow = edge
        .metric("streamwatch_edge_connections_closed_total", "slow")
        .await;
    assert!(slow >= 1.0, "{slow}");
    edge.post(&streams_of("a"), "").await.is(201);
}

#[tokio::test]
async fn further_connections_wait_and_requests_beyond_the_bound_are_refused() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let mut edge = Edge::start(
        &installation,
        &[
            "--insecure-no-auth",
            "acme",
            "--max-connections",
            "4",
            "--max-requests",
            "2",
            "--patience",
            "3s",
        ],
    );
    edge.ready().await;
    // Without a worker, each takes as long as the patience.
    let get = || {
        call(
            edge.http,
            request(Method::GET, "/api/v1/accounts/a", &[], ""),
        )
    };
    let (one, two, three, four, five) = tokio::join!(get(), get(), get(), get(), get());
    let all = [one, two, three, four, five].map(|it| it.expect("a response"));
    assert!(all.iter().all(|it| it.status == 503), "{all:?}");
    let overloaded = all
        .iter()
        .filter(|it| it.text.contains("in progress"))
        .count();
    assert!(overloaded >= 2, "{all:?}");

    let idle: Vec<_> = {
        let mut idle = Vec::new();
        for _ in 0..4 {
            idle.push(TcpStream::connect(edge.http).await.expect("it accepts"));
        }
        idle
    };
    let waits = timeout(Duration::from_millis(500), get()).await;
    assert!(waits.is_err(), "{waits:?}");
    drop(idle);
    get().await.expect("a response");
}

#[tokio::test]
async fn connections_of_one_address_beyond_its_bound_are_closed() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let bound = ["--max-client-connections", "2"];
    let edge = Edge::open_to_all(&installation, &bound).await;
    let open: Vec<_> = {
        let mut open = Vec::new();
        for _ in 0..2 {
            open.push(TcpStream::connect(edge.http).await.expect("it accepts"));
        }
        open
    };
    assert_eq!(
        raw(&edge, b"GET /api/v1/openapi.json HTTP/1.1\r\n").await,
        ""
    );
    let closed = "streamwatch_edge_connections_closed_total";
    assert!(edge.metric(closed, "crowded").await >= 1.0);
    drop(open);
    eventually(PATIENCE, "the address has connections again", async || {
        let answer = call(
            edge.http,
            request(Method::GET, "/api/v1/openapi.json", &[], ""),
        )
        .await;
        answer.map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_has_the_connections_of_many_clients() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let folder = Folder::new();
    let proxy = "[proxy]\naddresses = [\"127.0.0.1\"]\ntenant = \"acme\"\n";
    let access = folder.write("access.toml", proxy);
    let arguments = ["--access", &access, "--max-client-connections", "1"];
    let mut edge = Edge::start(&installation, &arguments);
    edge.ready().await;
    let _open = TcpStream::connect(edge.http).await.expect("it accepts");
    let caller = [("x-streamwatch-account", "alice")];
    let get = request(Method::GET, "/api/v1/accounts/alice", &caller, "");
    call(edge.http, get).await.expect("a response").is(200);
}
