//! A request's trace continues in the worker and in the reply, and its span is exported.

use std::sync::{Arc, Mutex, PoisonError};

use lapin::types::AMQPValue;
use streamwatch::wire::Trace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::exit::WRONG_SETTINGS;
use crate::fixture::{Broker, Caller, Installation, PATIENCE, Worker, cli_with, eventually};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "vendor=1";

/// Sends a request. Returns the reply's headers `traceparent` and `tracestate`.
async fn ask(
    caller: &mut Caller<'_>,
    kind: &str,
    parent: &str,
    state: &str,
) -> [Option<String>; 2] {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let headers = [("traceparent", text(parent)), ("tracestate", text(state))];
    let reply = caller.ask(kind, "alice", headers).await;
    let headers = reply.properties.headers().clone().unwrap_or_default();
    ["traceparent", "tracestate"].map(|name| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    })
}

/// The requests received by a collector.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    async fn listen(listener: TcpListener, received: Self) {
        while let Ok((connection, _)) = listener.accept().await {
            let body = take(connection).await;
            let mut all = received.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(body);
        }
    }

    fn has(&self, bytes: &[u8]) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.windows(bytes.len()).any(|window| window == bytes)
    }
}

/// Reads one request and accepts it.
async fn take(mut connection: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "));
            let length: usize = length.expect("it has a length").parse().expect("a number");
            let begin = all
                .windows(4)
                .position(|w| w == b"\r\n\r\n")
                .expect("it is there")
                + 4;
            if all.len() >= begin + length {
                let welcome = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                let output = connection.write_all(welcome.as_bytes()).await;
                output.expect("it listens");
                return all.split_off(begin);
            }
        }
        let read = connection.read_buf(&mut all).await;
        assert!(
            read.expect("a request arrives") > 0,
            "the request is complete"
        );
    }
}

#[tokio::test]
async fn the_trace_of_a_request_continues_in_its_reply() {
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    let _worker = installation.ready_worker().await;
    let mut caller = Caller::new(&installation).await;
    // Nothing is exported, so the span is still the caller's.
    for kind in ["init", "status", "nonsense"] {
        let [parent, state] = ask(&mut caller, kind, PARENT, STATE).await;
        assert_eq!(
            (parent.as_deref(), state.as_deref()),
            (Some(PARENT), Some(STATE))
        );
    }
    for malformed in ["", "00-4bf9-00f0-01", &PARENT.replace('4', "g")] {
        assert_eq!(
            ask(&mut caller, "status", malformed, STATE).await,
            [None, None]
        );
    }
}

#[tokio::test]
async fn the_span_of_a_request_is_exported_under_its_parent() {
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let received = Told::default();
    let collector = tokio::spawn(Told::listen(listener, received.clone()));
    let endpoint = format!("http://{address}");
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let mut worker = Worker::start_with(
        installation.broker,
        &installation.namespace,
        &[],
        &environment,
    );
    worker.ready().await;
    let mut caller = Caller::new(&installation).await;
    let parent = Trace::parse(PARENT.as_bytes(), None).expect("it is one");
    for kind in ["init", "status"] {
        let [reply, state] = ask(&mut caller, kind, PARENT, STATE).await;
        let reply = reply.expect("the reply has a trace");
        let reply = Trace::parse(reply.as_bytes(), None).expect("it is one");
        assert_eq!((reply.trace, state.as_deref()), (parent.trace, Some(STATE)));
        assert_ne!(
            reply.span, parent.span,
            "the reply comes from the worker's span"
        );
        // A span in OTLP: trace id, span id, state, parent id and name.
        let mut span = vec![0x0a, 16];
        span.extend(parent.trace.to_be_bytes());
        span.extend([0x12, 8]);
        span.extend(reply.span.to_be_bytes());
        span.extend([0x1a, STATE.len() as u8]);
        span.extend(STATE.as_bytes());
        span.extend([0x22, 8]);
        span.extend(parent.span.to_be_bytes());
        eventually(PATIENCE, "the span is exported", async || {
            let (span, kind) = (received.has(&span), received.has(kind.as_bytes()));
            if span && kind {
                Ok(())
            } else {
                Err((span, kind))
            }
        })
        .await;
    }
    assert!(received.has(b"streamwatch"), "the service name");
    // A trace that is not sampled has no span.
    let silent = PARENT.replace("-01", "-00");
    let [reply, _] = ask(&mut caller, "status", &silent, STATE).await;
    assert_eq!(reply, Some(silent));
    assert!(worker.stop().await.success());
    collector.abort();

    let elsewhere = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://s3cret@host"),
        ("AMQP_URL", "amqp://127.0.0.1:1"),
    ];
    let refused = cli_with(&elsewhere, &["worker"]).await;
    refused.exits(WRONG_SETTINGS).reports("OTEL_");
    assert!(!refused.stderr.contains("s3cret"), "{refused:?}");
}
