//! The life of streams over HTTP.

use axum::http::Method;
use lapin::{
    options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::json;
use streamwatch::client::{Backend, Stop, StreamId};

use super::{id, stream_of, streams_of};
use crate::fixture::{Broker, Edge, Installation, PATIENCE, account, eventually, playing, tenant};

async fn count(backend: &Backend) -> usize {
    playing(backend, "alice").await.len()
}

#[tokio::test]
async fn two_devices_over_http_have_the_counts_that_a_backend_sees_over_amqp() {
    let installation = Installation::declared(Broker::shared().await, "4s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let backend = installation.backend();
    assert_eq!(count(&backend).await, 0);

    let tv = edge
        .post(
            &streams_of("alice"),
            r#"{"metadata":{"device":"tv"},"max_active":2}"#,
        )
        .await
        .is(201);
    let location = tv.header("location").expect("a location").to_owned();
    assert_eq!(location, stream_of("alice", id(&tv.json)));
    assert_eq!(tv.header("cache-control"), Some("no-store"));
    assert_eq!(
        (&tv.json["ttl_ms"], &tv.json["activity"]["count"]),
        (&json!(4_000), &json!(1))
    );
    assert_eq!(playing(&backend, "alice").await, [id(&tv.json)]);

    let phone = StreamId::generate();
    let at = stream_of("alice", phone);
    let opened = edge
        .put(&at, r#"{"max_active":2,"group_by":["device"]}"#)
        .await
        .is(200);
    assert_eq!(opened.json["activity"]["by"], json!({"device": {"tv": 1}}));
    assert_eq!(count(&backend).await, 2);
    // A repetition does not count twice.
    let again = edge.put(&at, r#"{"max_active":2}"#).await.is(200);
    assert_eq!(again.json["activity"]["count"], 2);

    let third = edge.post(&streams_of("alice"), r#"{"max_active":2}"#).await;
    let third = third.fails_with(409, "refused");
    assert_eq!(
        (&third.json["reason"], &third.json["activity"]["count"]),
        (&json!("max_active"), &json!(2))
    );
    assert_eq!(
        third.json["conflicts"][0]["streams"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert_eq!(count(&backend).await, 2);

    for at in [&location, &at] {
        edge.post(&format!("{at}/heartbeat"), "").await.is(204);
    }
    let paused = r#"{"metadata":{"paused":true}}"#;
    edge.post(&format!("{location}/heartbeat"), paused)
        .await
        .is(204);
    let activity = edge
        .get("/api/v1/accounts/alice?consistency=strong&group_by=device,paused")
        .await;
    let activity = activity.is(200).json;
    assert_eq!(activity["count"], 2);
    assert_eq!(
        activity["by"],
        json!({"device": {"tv": 1}, "paused": {"true": 1}})
    );

    edge.delete(&at).await.is(204);
    assert_eq!(playing(&backend, "alice").await, [id(&tv.json)]);
    assert_eq!(edge.get(&at).await.is(200).json["state"], "stopped");
    let ended = edge.post(&format!("{at}/heartbeat"), "").await;
    assert_eq!(ended.fails_with(410, "ended").json["reason"], "stopped");

    // The television loses its power. One TTL later it does not count, and cannot come back.
    eventually(PATIENCE, "the stream expires", async || {
        let count = count(&backend).await;
        (count == 0).then_some(()).ok_or(count)
    })
    .await;
    let expired = edge.post(&format!("{location}/heartbeat"), "").await;
    assert_eq!(expired.fails_with(410, "ended").json["reason"], "expired");
    assert_eq!(count(&backend).await, 0);
}

#[tokio::test]
async fn a_stream_that_a_backend_stops_is_gone_for_its_player_at_every_edge() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edges = [
        Edge::open_to_all(&installation, &[]).await,
        Edge::open_to_all(&installation, &[]).await,
    ];
    let opened = edges[0].post(&streams_of("alice"), "").await.is(201);
    let at = format!("{}/heartbeat", stream_of("alice", id(&opened.json)));
    for edge in &edges {
        edge.post(&at, "").await.is(204);
    }
    let backend = installation.backend();
    let stop = Stop {
        reason: Some(Ok("support".parse().expect("a reason"))),
        ..Stop::of(id(&opened.json))
    };
    let (acme, alice) = (tenant(), account("alice"));
    let stopped = backend.send_stop(&acme, &alice, stop, std::time::Duration::ZERO);
    stopped.await.expect("a confirm");
    for edge in &edges {
        let gone = eventually(PATIENCE, "the edge has learned of the end", async || {
            let response = edge.post(&at, "").await;
            (response.status == 410)
                .then_some(())
                .ok_or(response.status)?;
            Ok::<_, u16>(response)
        })
        .await;
        let gone = gone.fails_with(410, "ended").json;
        assert_eq!(
            (&gone["reason"], &gone["given_reason"]),
            (&json!("stopped"), &json!("support"))
        );
    }
    assert!(playing(&backend, "alice").await.is_empty());
}

#[tokio::test]
async fn a_repeated_post_with_the_same_key_opens_one_stream() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let post = async |key: &str| {
        let headers = [("idempotency-key", key)];
        let at = streams_of("alice");
        let sent = edge.send(Method::POST, &at, &headers, "").await;
        id(&sent.is(201).json)
    };
    let first = post("one").await;
    assert_eq!(post("one").await, first);
    assert_ne!(post("two").await, first);
    assert_eq!(playing(&installation.backend(), "alice").await.len(), 2);
    let long = "k".repeat(257);
    let headers = [("idempotency-key", long.as_str())];
    let sent = edge
        .send(Method::POST, &streams_of("alice"), &headers, "")
        .await;
    assert_eq!(
        sent.fails_with(400, "bad_field").json["field"],
        "Idempotency-Key"
    );
}

#[tokio::test]
async fn a_page_that_closes_stops_its_stream_with_a_beacon() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge =
        Edge::open_to_all(&installation, &["--cors-origin", "https://www.example.com"]).await;
    let backend = installation.backend();
    for (media_type, body) in [("text/plain;charset=UTF-8", ""), ("image/png", "x")] {
        let opened = edge.post(&streams_of("alice"), "").await.is(201);
        let at = format!("{}/stop", stream_of("alice", id(&opened.json)));
        let headers = [
            ("content-type", media_type),
            ("origin", "https://www.example.com"),
        ];
        let stopped = edge.send(Method::POST, &at, &headers, body).await.is(204);
        let allowed = stopped.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://www.example.com"));
        assert!(playing(&backend, "alice").await.is_empty());
    }
    let preflight = [
        ("origin", "https://www.example.com"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type",
        ),
    ];
    let allowed = edge
        .send(Method::OPTIONS, &streams_of("a"), &preflight, "")
        .await
        .is(200);
    assert!(
        allowed.header("access-control-allow-methods").is_some(),
        "{allowed:?}"
    );
    let other = [("origin", "https://evil.example")];
    let other = edge
        .send(Method::GET, "/api/v1/accounts/a", &other, "")
        .await
        .is(200);
    assert_eq!(other.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_player_learns_a_changed_interval_from_its_heartbeat() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let opened = edge.post(&streams_of("alice"), "").await.is(201);
    let at = format!("{}/heartbeat", stream_of("alice", id(&opened.json)));
    let every = opened.json["heartbeat_every_ms"]
        .as_u64()
        .expect("an interval");
    let own = json!({"heartbeat_every_ms": every}).to_string();
    edge.post(&at, &own).await.is(204);
    let set = ["topology", "set", "--heartbeat-every", "5s", "--ttl", "30s"];
    installation.cli(&set).await.exits(0);
    let changed = eventually(PATIENCE, "the interval has changed", async || {
        let response = edge.post(&at, &own).await;
        (response.status == 200)
            .then_some(())
            .ok_or(response.status)?;
        Ok::<_, u16>(response)
    })
    .await;
    assert_eq!(
        changed.json,
        json!({"heartbeat_every_ms": 5_000, "ttl_ms": 30_000})
    );
}

#[tokio::test]
async fn a_request_continues_its_trace_in_rabbitmq() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let channel = installation.broker.channel().await;
    let queue = format!("{}copies", installation.namespace);
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
    declared.await.expect("a queue");
    let exchange = format!("{}streamwatch", installation.namespace);
    let bound = channel.queue_bind(
        queue.as_str().into(),
        exchange.as_str().into(),
        "acme.init".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("a binding");
    let headers = [("traceparent", PARENT), ("tracestate", "vendor=1")];
    edge.send(Method::POST, &streams_of("alice"), &headers, "")
        .await
        .is(201);
    let copy = eventually(PATIENCE, "the copy arrives", async || {
        let got = channel
            .basic_get(queue.as_str().into(), BasicGetOptions::default())
            .await;
        got.expect("the queue").ok_or("nothing")
    })
    .await;
    let headers = copy.properties.headers().clone().unwrap_or_default();
    for (name, value) in [("traceparent", PARENT), ("tracestate", "vendor=1")] {
        let header = headers.inner().get(name).expect("a header");
        assert_eq!(*header, AMQPValue::LongString(value.into()));
    }
}
