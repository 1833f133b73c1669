//! Requests that the edge refuses, and files that it does not start with.

use axum::http::Method;

use super::{Adobe, session};
use crate::fixture::{Broker, Edge, Folder, Installation, exit};

#[tokio::test]
async fn requests_that_are_not_acceptable_have_their_status() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let policies = "applications = [{id = \"app\"}]";
    let adobe = Adobe::start(&installation, &["app", "other"], policies).await;
    let app = adobe.application("app");
    let unknown = adobe.application("unknown");
    unknown.open("alice", "").await.is(401);
    let denied = adobe
        .edge
        .post("/v2/sessions/adobe/alice", "")
        .await
        .is(401);
    assert!(
        denied
            .header("www-authenticate")
            .is_some_and(|it| it.starts_with("Basic"))
    );
    // It is known, but has no policies.
    adobe.application("other").metadata().await.is(403);
    adobe
        .edge
        .post("/v1/unknown/cable/accounts/alice/streams", "")
        .await
        .is(401);
    adobe
        .edge
        .post("/v1/other/cable/accounts/alice/streams", "")
        .await
        .is(403);

    let id = session(&app.open("alice", "").await);
    for foreign in ["f__-sE4", "76378b50-4eb0-43b4-b144-51cb62d85563"] {
        app.heartbeat("alice", foreign).await.is(404);
        app.delete("alice", foreign).await.is(404);
    }
    // The session of another subject.
    app.heartbeat("bob", &id).await.is(410);
    app.delete("bob", &id).await.is(410);
    app.heartbeat("alice", &id).await.is(202);

    let long = format!("x={}", "y".repeat(20_000));
    app.open("alice", &long).await.is(413);
    let json = [("content-type", "application/json")];
    let path = "/v2/sessions/adobe/alice";
    adobe.edge.send(Method::PUT, path, &[], "").await.is(405);
    let body = "{\"channel\": \"1\"}";
    let credentials = ("authorization", "Basic YXBwOg==");
    adobe
        .edge
        .send(Method::POST, path, &[credentials, json[0]], body)
        .await
        .is(415);
    let many = (0..17)
        .map(|n| format!("{n:08x}"))
        .collect::<Vec<_>>()
        .join(",");
    app.open_instead("alice", &many, "").await.is(400);
    app.open(&"x".repeat(200), "").await.is(400);
}

#[tokio::test]
async fn a_page_of_any_origin_may_call() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let policies = "applications = [{id = \"app\"}]";
    let adobe = Adobe::start(&installation, &["app"], policies).await;
    let asked = [
        ("origin", "https://tv.example"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,x-terminate",
        ),
    ];
    let path = "/v2/sessions/adobe/alice";
    let allowed = adobe
        .edge
        .send(Method::OPTIONS, path, &asked, "")
        .await
        .is(200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
    let headers = allowed.header("access-control-allow-headers");
    assert_eq!(headers, Some("authorization,x-terminate"));
    let opened = adobe.application("app").open("alice", "").await.is(202);
    let exposed = opened
        .header("access-control-expose-headers")
        .unwrap_or_default();
    for name in ["location", "date", "expires"] {
        assert!(exposed.contains(name), "{name} is not in {exposed}");
    }
}

#[tokio::test]
async fn an_edge_does_not_start_with_a_wrong_file_and_names_all_problems() {
    let installation = Installation::bare(Broker::shared().await);
    let files = Folder::new();
    let access = files.write("access.toml", "");
    let policies = files.write(
        "policies.toml",
        r#"
        applications = [{id = "app", policies = ["none"]}]
        policies = [{name = "p", rules = [{max = 0}]}]
        "#,
    );
    let arguments = ["--access", &access, "--policies", &policies];
    let mut edge = Edge::start(&installation, &arguments);
    let status = edge.process.ended().await;
    assert_eq!(status.code(), Some(exit::WRONG_SETTINGS));
    let stderr = edge.process.stderr();
    for problem in [
        "--policies (STREAMWATCH_EDGE_POLICIES): application \"app\": policies: there is no policy \"none\"",
        "policy \"p\" has no application",
        "max: 0: must be at least 1",
    ] {
        assert!(stderr.contains(problem), "{problem} is not in {stderr}");
    }
}
