//! Requests whose end is ambiguous: a proxy could take the rest for another request.

use axum::http::Method;
use serde_json::json;
use streamwatch::client::StreamId;

use super::abuse::raw;
use super::beside::beside;
use super::{stream_of, streams_of};
use crate::fixture::{Broker, Edge, Installation, playing};

/// A request with these headers and this body, followed by one that a proxy may not have seen.
fn with_smuggled(headers: &str, body: &str) -> String {
    format!(
        "POST /api/v1/accounts/first/streams HTTP/1.1\r\nhost: e\r\n{headers}\r\n{body}\
         POST /api/v1/accounts/smuggled/streams HTTP/1.1\r\nhost: e\r\ncontent-length: 0\r\n\r\n"
    )
}

/// The number of responses.
fn responses(answer: &str) -> usize {
    answer.matches("HTTP/1.1 ").count() + answer.matches("HTTP/1.0 ").count()
}

#[tokio::test]
async fn a_request_with_an_ambiguous_end_is_the_last_one_of_its_connection() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let arguments = ["--header-timeout", "2s", "--request-timeout", "2s"];
    let edge = Edge::open_to_all(&installation, &arguments).await;
    let chunked = "transfer-encoding: chunked\r\n";
    let long = format!("{chunked}x: {}\r\n", "y".repeat(17 * 1_024));
    let refused = [
        (
            "two lengths",
            "content-length: 0\r\ncontent-length: 3\r\n",
            "",
        ),
        ("a list of lengths", "content-length: 3, 3\r\n", "{ }"),
        ("a signed length", "content-length: +3\r\n", "{ }"),
        ("a negative length", "content-length: -1\r\n", ""),
        ("a hexadecimal length", "content-length: 0x3\r\n", "{ }"),
        ("an empty length", "content-length:\r\n", ""),
        (
            "a huge length",
            "content-length: 99999999999999999999\r\n",
            "",
        ),
        (
            "a folded header",
            "transfer-encoding:\r\n chunked\r\n",
            "0\r\n\r\n",
        ),
        (
            "a folded header before",
            "x: y\r\n transfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        (
            "a space before the colon",
            "transfer-encoding : chunked\r\n",
            "0\r\n\r\n",
        ),
        (
            "another coding",
            "transfer-encoding: xchunked\r\n",
            "0\r\n\r\n",
        ),
        (
            "a coding after chunked",
            "transfer-encoding: chunked, identity\r\n",
            "0\r\n\r\n",
        ),
        (
            "two codings",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            "0\r\n\r\n",
        ),
        (
            "a carriage return in a header",
            "x: y\rcontent-length: 9\r\n",
            "",
        ),
        ("a NUL in a header", "x: y\0z\r\n", ""),
        ("long headers", &long, "0\r\n\r\n"),
        // Its chunks end elsewhere for a lenient reader.
        (
            "a chunk with a bare line feed",
            chunked,
            "3\n{ }\r\n0\r\n\r\n",
        ),
        (
            "a line feed in an extension",
            chunked,
            "3;a\nb\r\n{ }\r\n0\r\n\r\n",
        ),
        (
            "a chunk longer than its size",
            chunked,
            "3\r\n{  }\r\n0\r\n\r\n",
        ),
        (
            "a chunk of a size that overflows",
            chunked,
            "fffffffffffffffff\r\n{ }\r\n0\r\n\r\n",
        ),
        ("a signed size", chunked, "+3\r\n{ }\r\n0\r\n\r\n"),
        ("a prefixed size", chunked, "0x3\r\n{ }\r\n0\r\n\r\n"),
    ];
    let attack = async {
        for (what, headers, body) in &refused {
            let answer = raw(&edge, with_smuggled(headers, body).as_bytes()).await;
            let status = answer.get(9..12).unwrap_or_default();
            let expected = if *what == "long headers" {
                "431"
            } else {
                "400"
            };
            assert_eq!(
                (status, responses(&answer)),
                (expected, 1),
                "{what}: {answer}"
            );
        }
        // The chunks are its body, and its connection ends: a proxy may have used the length.
        for headers in [
            format!("content-length: 3\r\n{chunked}"),
            format!("{chunked}content-length: 3\r\n"),
            chunked.to_owned(),
        ] {
            let body = "3;extension=\"x\"\r\n{ }\r\n0\r\ntrailer: x\r\n\r\n";
            let answer = raw(&edge, with_smuggled(&headers, body).as_bytes()).await;
            let is_opened = answer.starts_with("HTTP/1.1 201");
            assert!(
                is_opened && responses(&answer) == 1,
                "{headers:?}: {answer}"
            );
        }
        let old = with_smuggled(chunked, "0\r\n\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1);
        let answer = raw(&edge, old.as_bytes()).await;
        assert!(
            answer.contains(" 400 ") && responses(&answer) == 1,
            "{answer}"
        );
    };
    beside(&edge, "smuggling", attack).await;
    let backend = installation.backend();
    assert!(playing(&backend, "smuggled").await.is_empty());
    assert_eq!(playing(&backend, "first").await.len(), 3);
    let closed = "streamwatch_edge_connections_closed_total";
    assert!(edge.metric(closed, "error").await >= 16.0);
}

#[tokio::test]
async fn an_account_that_is_not_utf_8_or_has_control_characters_is_refused() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    for (what, account) in [
        ("an overlong slash", "%c0%af"),
        ("an overlong dot", "%e0%80%ae"),
        ("a surrogate", "%ed%a0%80"),
        ("beyond Unicode", "%f4%90%80%80"),
        ("the begin of a character", "a%c3"),
        ("NUL", "a%00b"),
        ("a line break", "a%0d%0ab"),
    ] {
        let stream = stream_of(account, StreamId::generate());
        for (method, path) in [
            (Method::POST, streams_of(account)),
            (Method::PUT, stream.clone()),
            (Method::POST, format!("{stream}/heartbeat")),
            (Method::POST, format!("{stream}/stop")),
            (Method::GET, format!("/api/v1/accounts/{account}")),
        ] {
            let refused = edge.send(method.clone(), &path, &[], "").await;
            let refused = refused.fails_with(400, "bad_field");
            assert_eq!(refused.json["field"], "account", "{what}: {method}");
        }
    }
    let counted = edge
        .metric("streamwatch_edge_refused_total", "bad_field")
        .await;
    assert_eq!(counted, 35.0);
    // A body cannot name another account, another stream or a tenant.
    let stream = StreamId::generate();
    let at = stream_of("alice", stream);
    for (body, field) in [
        (json!({"account": "bob"}), "account"),
        (
            json!({"stream": StreamId::generate().to_string()}),
            "stream",
        ),
    ] {
        let refused = edge.put(&at, &body.to_string()).await;
        assert_eq!(refused.is(400).json["field"], field);
        let refused = edge
            .post(&format!("{at}/heartbeat"), &body.to_string())
            .await;
        assert_eq!(refused.is(400).json["field"], field);
    }
    let opened = edge.put(&at, r#"{"tenant":"other"}"#).await.is(200);
    assert_eq!(opened.json["activity"]["tenant"], "acme");
}
