//! Problem details: their fields, and the pages about their kinds.

use serde_json::json;
use streamwatch::client::StreamId;

use super::{id, stream_of, streams_of};
use crate::fixture::{Broker, Edge, Folder, Installation};

#[tokio::test]
async fn a_refusal_has_the_fields_of_the_contract() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let live = r#"{"metadata":{"kind":"live"}}"#;
    let tv = id(&edge.post(&streams_of("alice"), live).await.is(201).json);

    let phone = StreamId::generate();
    let at = stream_of("alice", phone);
    let body = r#"{"max_active":1,"group_by":["kind"]}"#;
    let refused = edge.put(&at, body).await.fails_with(409, "refused");
    assert_eq!(refused.header("retry-after"), None);
    let mut fields = refused.json;
    let activity = fields["activity"].take();
    assert_eq!(activity["streams"][0]["stream"], tv.to_string());
    assert_eq!(activity["by"], json!({"kind": {"live": 1}}));
    assert_eq!(
        fields,
        json!({
            "type": "/api/v1/problems/refused",
            "title": "The stream is refused",
            "status": 409,
            "detail": "the stream is refused and does not count: its player does not play",
            "code": "refused",
            "stream": phone.to_string(),
            "reason": "max_active",
            "max_active": 1,
            "conflicts": [{"limit": 0, "streams": [tv.to_string()]}],
            "activity": null,
        })
    );

    // The position of the limit that refuses.
    let limits = r#"{"metadata":{"kind":"live"},
        "limits":[{"max":5},{"max":1,"where":{"kind":["live"]}}]}"#;
    let third = edge.post(&streams_of("alice"), limits).await;
    let third = third.fails_with(409, "refused").json;
    assert_eq!(
        (&third["reason"], &third["conflicts"][0]["limit"]),
        (&json!("limits"), &json!(1))
    );
    assert_eq!(
        (&third["max_active"], &third["remembered"]),
        (&json!(null), &json!(null))
    );

    // The stop of a stream that comes before its start.
    let stopped = stream_of("alice", StreamId::generate());
    edge.delete(&stopped).await.is(204);
    let late = edge.put(&stopped, "").await.fails_with(409, "refused");
    assert_eq!(late.json["reason"], "stopped");
    let ms = late.json["retry_after_ms"].as_u64().expect("a time");
    assert!((1..=70_000).contains(&ms), "{ms}");
    let seconds = ms.div_ceil(1_000).to_string();
    assert_eq!(late.header("retry-after"), Some(seconds.as_str()));

    // Once there is room, the same request is decided anew.
    edge.delete(&stream_of("alice", tv)).await.is(204);
    edge.put(&at, body).await.is(200);
}

#[tokio::test]
async fn the_type_of_a_problem_is_the_address_of_its_page_for_all_clients() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let files = Folder::new();
    let access = files.write(
        "access.toml",
        "[[applications]]\nid = \"a\"\ntenant = \"acme\"",
    );
    let mut edge = Edge::start(&installation, &["--access", &access]);
    edge.ready().await;
    for (path, status) in [
        ("/api/v1/accounts/alice", 401),
        ("/api/v1/nothing", 404),
        ("/api/v1/openapi.json/x", 404),
    ] {
        let problem = edge.get(path).await.is(status).json;
        let kind = problem["type"].as_str().expect("an address");
        let page = edge.get(kind).await.is(200);
        let start = format!("{} ({status} ", problem["code"].as_str().expect("a code"));
        assert!(page.text.starts_with(&start), "{}", page.text);
        assert!(page.text.contains("A player "), "{}", page.text);
        assert_eq!(
            page.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(page.header("cache-control"), Some("public, max-age=86400"));
    }
    let unknown = edge.get("/api/v1/problems/nothing").await;
    let unknown = unknown.fails_with(404, "not_found");
    assert_eq!(unknown.header("cache-control"), Some("no-store"));
}
