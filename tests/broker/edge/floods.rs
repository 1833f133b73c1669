//! Clients that send too much: frames of HTTP/2, bodies, requests at once.

use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::beside::beside;
use super::frames::{self, Headers};
use super::{stream_of, streams_of};
use crate::fixture::{Broker, Edge, Installation, PATIENCE, eventually};

const HEARTBEAT: &str =
    "/api/v1/accounts/evil/streams/00000000-0000-4000-8000-000000000001/heartbeat";
const CLOSED: &str = "streamwatch_edge_connections_closed_total";
const REFUSED: &str = "streamwatch_edge_refused_total";

/// The resident memory of an edge, in MB.
fn memory(edge: &Edge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", edge.process.pid()));
    let status = status.expect("the edge runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kb.and_then(|kb| kb.parse::<u64>().ok()).expect("a number") / 1_000
}

/// Sends `piece` again and again until the edge closes the connection, or `most` times. Returns what
/// it has responded.
async fn flood(at: SocketAddr, begin: Vec<u8>, piece: Vec<u8>, most: usize) -> (bool, Vec<u8>) {
    let stream = TcpStream::connect(at).await.expect("it accepts");
    let (mut read, mut write) = stream.into_split();
    let reading = tokio::spawn(async move {
        let (mut all, mut some) = (Vec::new(), [0; 4_096]);
        while let Ok(n @ 1..) = read.read(&mut some).await {
            // The begin is enough.
            if all.len() < 100_000 {
                all.extend_from_slice(&some[..n]);
            }
        }
        all
    });
    let send = async {
        write.write_all(&begin).await?;
        for _ in 0..most {
            write.write_all(&piece).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let sent = timeout(PATIENCE, send).await;
    let closed = !matches!(sent, Ok(Ok(())));
    drop(write);
    let received = timeout(PATIENCE, reading).await;
    (
        closed,
        received.expect("the edge closes it").expect("bytes"),
    )
}

/// Sends frames, and returns the status of the first response.
async fn status(at: SocketAddr, frames: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(at).await.expect("it accepts");
    stream.write_all(frames).await.expect("it is sent");
    let (mut all, mut some) = (Vec::new(), [0; 4_096]);
    let reading = async {
        loop {
            let read = stream.read(&mut some).await.expect("bytes");
            assert!(read > 0, "closed after {all:?}");
            all.extend_from_slice(&some[..read]);
            if let Some(status) = frames::status(&all) {
                return status;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("a response")
}

/// Waits for a number of requests in progress.
async fn in_progress(edge: &Edge, number: f64) {
    eventually(PATIENCE, "requests are in progress", async || {
        let now = edge
            .metric("streamwatch_edge_requests_in_progress", "")
            .await;
        ((now - number).abs() < 0.5).then_some(()).ok_or(now)
    })
    .await;
}

#[tokio::test]
async fn floods_of_frames_end_their_connection_and_nothing_else() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let mut worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &["--header-timeout", "3s"]).await;
    let before = memory(&edge);
    let begin = frames::begin();
    let post = Headers::post(HEARTBEAT);

    let reset: Vec<u8> = (0..1_000)
        .flat_map(|n| {
            let stream = 2 * n + 1;
            [post.frame(stream, true), frames::reset(stream)].concat()
        })
        .collect();
    let attack = flood(edge.http, [begin.clone(), reset].concat(), Vec::new(), 0);
    let (_, answer) = beside(&edge, "resets", attack).await;
    assert_eq!(frames::goodbye(&answer), Some(frames::CALM), "resets");

    // Requests that wait for a worker, and are reset then.
    worker.pause().await;
    let some = || (0..15).map(|n| 2 * n + 1);
    let get = Headers::get("/api/v1/accounts/evil");
    let begun: Vec<u8> = some().flat_map(|n| get.frame(n, true)).collect();
    let mut stream = TcpStream::connect(edge.http).await.expect("it accepts");
    let sent = stream.write_all(&[begin.clone(), begun].concat()).await;
    sent.expect("it is sent");
    in_progress(&edge, 15.0).await;
    let resets: Vec<u8> = some().flat_map(frames::reset).collect();
    stream.write_all(&resets).await.expect("it is sent");
    in_progress(&edge, 0.0).await;
    worker.resume();
    assert_eq!(edge.metric(REFUSED, "abandoned").await, 15.0);

    // A header block that never ends.
    let endless = [begin.clone(), post.begun(1)].concat();
    let attack = flood(edge.http, endless, frames::continuation(1), 5_000);
    let (closed, answer) = beside(&edge, "continuations", attack).await;
    assert!(closed, "continuations: {:?}", frames::goodbye(&answer));

    // Pings and settings without a purpose: each one is acknowledged, and nothing is stored.
    for (what, frame) in [("pings", frames::ping()), ("settings", frames::settings())] {
        let many = frame.repeat(1_000);
        let attack = flood(edge.http, begin.clone(), many, 100);
        beside(&edge, what, attack).await;
    }
    // Twice the headers that a request may have.
    let many: String = (0..500)
        .map(|n| format!("x-{n:03}=0123456789012345678901234567890123456789;"))
        .collect();
    let large = Headers::post(HEARTBEAT).with("cookie", &many);
    let bytes = [begin.clone(), large.frame(1, true)].concat();
    assert_eq!(status(edge.http, &bytes).await, 431);

    assert!(edge.metric(CLOSED, "error").await >= 2.0);
    let grown = memory(&edge).saturating_sub(before);
    assert!(grown < 60, "{grown} MB more");
}

#[tokio::test]
async fn concurrent_requests_of_one_client_leave_room_for_others() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let arguments = [
        "--max-requests",
        "100",
        "--max-client-connections",
        "50",
        "--request-timeout",
        "2s",
    ];
    let edge = Edge::open_to_all(&installation, &arguments).await;
    // Bodies that never arrive.
    let bytes = || {
        let post = Headers::post(&streams_of("evil")).with("content-length", "9");
        let all = (0..120).map(|n| post.frame(2 * n + 1, false));
        [frames::begin(), all.collect::<Vec<_>>().concat()].concat()
    };
    let attack = async {
        for round in [0.0, 1.0] {
            let open: Vec<_> = join_all((0..5).map(async |_| {
                let mut stream = TcpStream::connect(edge.http).await.expect("it accepts");
                stream.write_all(&bytes()).await.expect("it is sent");
                stream
            }))
            .await;
            eventually(PATIENCE, "many are refused", async || {
                let crowded = edge.metric(REFUSED, "crowded").await;
                (crowded >= 500.0 * (round + 1.0))
                    .then_some(())
                    .ok_or(crowded)
            })
            .await;
            drop(open);
        }
    };
    beside(&edge, "bodies that never arrive", attack).await;
    assert!(edge.metric(REFUSED, "unavailable").await < 0.5);
}

#[tokio::test]
async fn bodies_of_100_mib_are_refused_before_they_have_arrived() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let before = memory(&edge);
    let head = |header: &str| {
        let path = streams_of("evil");
        format!("POST {path} HTTP/1.1\r\nhost: e\r\n{header}\r\n\r\n").into_bytes()
    };
    let mebibyte = "x".repeat(1 << 20);
    let chunk = format!("100000\r\n{mebibyte}\r\n");
    for (what, header, piece) in [
        ("a length of 100 MiB", "content-length: 104857600", mebibyte),
        ("chunks of 100 MiB", "transfer-encoding: chunked", chunk),
    ] {
        let attack = flood(edge.http, head(header), piece.into_bytes(), 100);
        let (closed, answer) = beside(&edge, what, attack).await;
        assert!(closed, "{what}: all of it was read");
        let answer = String::from_utf8_lossy(&answer);
        // The system may drop the response when it resets the connection.
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
            "{what}: {answer}"
        );
    }
    let large = edge.metric(REFUSED, "too_large").await;
    assert_eq!(large, 2.0);

    let post = Headers::post(&streams_of("evil")).frame(1, false);
    let data = frames::data(1, &[b'x'; 16_000]);
    let begin = [frames::begin(), post].concat();
    let some = [begin.clone(), data.repeat(3)].concat();
    assert_eq!(status(edge.http, &some).await, 413);
    // More than the window that the edge allows.
    let attack = flood(edge.http, begin, data, 6_500);
    let (closed, answer) = beside(&edge, "frames of 100 MiB", attack).await;
    assert!(closed, "{:?}", frames::goodbye(&answer));
    let grown = memory(&edge).saturating_sub(before);
    assert!(grown < 60, "{grown} MB more");
}

#[tokio::test]
async fn thousands_of_requests_at_once_on_one_connection_are_answered_in_order() {
    const REQUESTS: usize = 5_000;
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let bad = "GET /api/v1/accounts/%00 HTTP/1.1\r\nhost: e\r\n\r\n";
    let last = format!(
        "DELETE {} HTTP/1.1\r\nhost: e\r\nconnection: close\r\n\r\n",
        stream_of("last", "00000000-0000-4000-8000-000000000002")
    );
    let all = bad.repeat(REQUESTS) + &last;
    let attack = async {
        let stream = TcpStream::connect(edge.http).await.expect("it accepts");
        let (mut read, mut write) = stream.into_split();
        // The edge takes a closed half for a client that has gone.
        let writing = tokio::spawn(async move {
            write.write_all(all.as_bytes()).await.expect("it is sent");
            write
        });
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, read.read_to_end(&mut answer)).await;
        read.expect("in time").expect("the responses");
        drop(writing.await.expect("it panics nowhere"));
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = beside(&edge, "pipelining", attack).await;
    let count = |status: u16| answer.matches(&format!("HTTP/1.1 {status}")).count();
    assert_eq!((count(400), count(204)), (REQUESTS, 1));
    let end = answer.rfind("HTTP/1.1 ").map(|at| &answer[at..]);
    assert!(
        end.is_some_and(|end| end.starts_with("HTTP/1.1 204")),
        "{end:?}"
    );
    let refused = edge.metric(REFUSED, "bad_field").await;
    assert_eq!(refused as usize, REQUESTS);
}
