//! Callers and what they reach.

use axum::http::Method;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use streamwatch::client::StreamId;

use super::tokens::{LATER, SECRET, of, token};
use super::{id, stream_of, streams_of};
use crate::fixture::{
    Broker, Edge, Folder, Installation, PATIENCE, Response, cli, eventually, exit, playing,
};

fn configured() -> String {
    format!(
        r#"
        applications = [
            {{ id = "web", tenant = "acme", secret = "s3cret" }},
            {{ id = "other", tenant = "other" }},
        ]
        [[tokens]]
        tenant_claim = "tenant"
        audience = "streamwatch"
        keys = [{{ id = "k1", algorithm = "HS256", secret = "{SECRET}" }}]"#
    )
}

async fn with(edge: &Edge, authorization: &str, account: &str) -> Response {
    let headers = [("authorization", authorization)];
    edge.send(Method::POST, &streams_of(account), &headers, "")
        .await
}

#[tokio::test]
async fn each_wrong_credential_has_its_status_and_its_metric() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let folder = Folder::new();
    let file = folder.write("access.toml", &configured());
    let mut edge = Edge::start(&installation, &["--access", &file]);
    edge.ready().await;
    let good = json!({"tenant": "acme", "sub": "alice", "exp": LATER, "aud": "streamwatch"});
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        format!("Bearer {}", of(&claims))
    };
    let header = |header: Value| format!("Bearer {}", token(&header, &good, SECRET));
    for (authorization, reason) in [
        (changed("exp", json!(1_000_000_000)), "expired_token"),
        (changed("aud", json!("else")), "wrong_audience"),
        (changed("tenant", Value::Null), "bad_claims"),
        (
            header(json!({"alg": "none", "kid": "k1"})),
            "wrong_algorithm",
        ),
        (header(json!({"alg": "HS256", "kid": "k2"})), "unknown_key"),
        (format!("Bearer {}x", of(&good)), "wrong_signature"),
        ("Bearer junk".to_owned(), "malformed_credentials"),
        (
            format!("Basic {}", STANDARD.encode("web:wrong")),
            "unknown_application",
        ),
    ] {
        let denied = with(&edge, &authorization, "alice").await;
        let denied = denied.fails_with(401, "unauthorized");
        let schemes = denied.header("www-authenticate").unwrap_or_default();
        assert!(
            schemes.contains("Bearer") && schemes.contains("Basic"),
            "{schemes}"
        );
        let label = format!("reason=\"{reason}\"");
        let counted = edge.metric("streamwatch_edge_refused_total", &label).await;
        assert_eq!(counted, 1.0, "{reason}");
    }
    edge.post(&streams_of("alice"), "")
        .await
        .fails_with(401, "unauthorized");
    assert!(playing(&installation.backend(), "alice").await.is_empty());

    let own = format!("Bearer {}", of(&good));
    let opened = with(&edge, &own, "alice").await.is(201);
    with(&edge, &own, "bob").await.fails_with(403, "forbidden");
    let label = "reason=\"forbidden\"";
    assert_eq!(
        edge.metric("streamwatch_edge_refused_total", label).await,
        1.0
    );
    // The tenant is that of the credentials, whatever the account is called.
    let other = format!("Basic {}", STANDARD.encode("other:"));
    let elsewhere = with(&edge, &other, "alice").await.is(201);
    assert_eq!(elsewhere.json["activity"]["tenant"], "other");
    assert_eq!(elsewhere.json["activity"]["count"], 1);
    let stop = [("authorization", other.as_str())];
    let at = stream_of("alice", id(&opened.json));
    edge.send(Method::DELETE, &at, &stop, "").await.is(204);
    let backend = installation.backend();
    assert_eq!(
        playing(&backend, "alice").await,
        [id(&opened.json)],
        "of another tenant"
    );
    // A beacon cannot set headers.
    let body = format!("access_token={}", of(&good));
    edge.post(&format!("{at}/stop"), "access_token=junk")
        .await
        .fails_with(401, "unauthorized");
    edge.post(&format!("{at}/stop"), &body).await.is(204);
    assert!(playing(&backend, "alice").await.is_empty());
    for secret in [SECRET, "s3cret", "wrong", &of(&good)] {
        assert!(
            !edge.process.stderr().contains(secret),
            "{secret} is in the log"
        );
    }
}

#[tokio::test]
async fn a_token_changes_no_stream_of_another_account_or_tenant() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let folder = Folder::new();
    let file = folder.write("access.toml", &configured());
    let mut edge = Edge::start(&installation, &["--access", &file]);
    edge.ready().await;
    let of = |tenant: &str, account: &str| {
        let claims = json!({"tenant": tenant, "sub": account, "exp": LATER, "aud": "streamwatch"});
        format!("Bearer {}", of(&claims))
    };
    let bob = with(&edge, &of("acme", "bob"), "bob").await.is(201);
    let stream = id(&bob.json);
    let backend = installation.backend();
    for (authorization, account) in [
        // In its own account, the id is that of another stream.
        (of("acme", "alice"), "alice"),
        (of("other", "bob"), "bob"),
        (of("acme", "alice"), "bob"),
    ] {
        let headers = [("authorization", &*authorization)];
        let at = stream_of(account, stream);
        let is_own = !(authorization == of("acme", "alice") && account == "bob");
        let state = edge.send(Method::GET, &at, &headers, "").await;
        if is_own {
            assert_eq!(state.is(200).json["activity"]["count"], 0);
        } else {
            state.fails_with(403, "forbidden");
        }
        for (method, path) in [
            (Method::PUT, at.clone()),
            (Method::POST, format!("{at}/heartbeat")),
            (Method::POST, format!("{at}/stop")),
            (Method::DELETE, at.clone()),
        ] {
            let sent = edge.send(method.clone(), &path, &headers, "").await;
            let is_done = [200, 204].contains(&sent.status);
            assert_eq!(is_done, is_own, "{method} {path}: {sent:?}");
        }
        // The new stream replaces those of its account alone.
        let replaces = format!(r#"{{"replace":["{stream}"],"max_active":1}}"#);
        let opened = edge
            .send(Method::POST, &streams_of(account), &headers, &replaces)
            .await;
        assert_eq!(opened.status, if is_own { 201 } else { 403 });
        assert_eq!(playing(&backend, "bob").await, [stream], "{account}");
    }
    let own = of("acme", "bob");
    let headers = [("authorization", &*own)];
    let at = format!("{}/heartbeat", stream_of("bob", stream));
    edge.send(Method::POST, &at, &headers, "").await.is(204);
}

#[tokio::test]
async fn changed_rules_of_access_are_in_force_without_a_restart() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let folder = Folder::new();
    let one = r#"applications = [{ id = "one", tenant = "acme" }]"#;
    let file = folder.write("access.toml", one);
    let mut edge = Edge::start(&installation, &["--access", &file]);
    edge.ready().await;
    let [one, two] = ["one:", "two:"].map(|id| format!("Basic {}", STANDARD.encode(id)));
    with(&edge, &one, "alice").await.is(201);
    with(&edge, &two, "alice").await.is(401);
    folder.write("access.toml", "applications = [{ id = ");
    eventually(PATIENCE, "the mistake is reported", async || {
        let log = edge.process.stderr();
        log.contains("cannot load changed access rules")
            .then_some(())
            .ok_or(log)
    })
    .await;
    with(&edge, &one, "alice").await.is(201);
    folder.write(
        "access.toml",
        r#"applications = [{ id = "two", tenant = "acme" }]"#,
    );
    eventually(PATIENCE, "the change is in force", async || {
        let status = with(&edge, &two, "alice").await.status;
        (status == 201).then_some(()).ok_or(status)
    })
    .await;
    with(&edge, &one, "alice").await.is(401);
}

#[tokio::test]
async fn an_edge_without_rules_of_access_does_not_start() {
    let broker = Broker::shared().await;
    let start = async |arguments: &[&str]| {
        let all = [&["edge"], arguments].concat();
        cli(broker, "x-", &all).await
    };
    let ended = start(&["--http", "127.0.0.1:0"]).await;
    ended.exits(exit::WRONG_SETTINGS).reports("--access");
    let ended = start(&["--http", "0.0.0.0:0", "--insecure-no-auth", "acme"]).await;
    ended.exits(exit::WRONG_SETTINGS).reports("loopback");
    let folder = Folder::new();
    let file = folder.write("access.toml", "applications = [{ id = \"a\" }]");
    let ended = start(&["--http", "127.0.0.1:0", "--access", &file]).await;
    ended
        .exits(exit::WRONG_SETTINGS)
        .reports("line 1: missing field `tenant`");
}

#[tokio::test]
async fn an_account_over_its_limit_is_throttled_and_others_are_not() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &["--account-requests-per-second", "2"]).await;
    let at = |account: &str| format!("{}/heartbeat", stream_of(account, StreamId::generate()));
    let throttled = eventually(PATIENCE, "it is throttled", async || {
        let response = edge.post(&at("alice"), "").await;
        (response.status == 429)
            .then_some(())
            .ok_or(response.status)?;
        Ok::<_, u16>(response)
    })
    .await;
    let throttled = throttled.fails_with(429, "throttled");
    assert_eq!(throttled.header("retry-after"), Some("1"));
    edge.post(&at("bob"), "").await.is(204);
}

#[tokio::test]
async fn a_client_too_fast_is_throttled_by_the_address_that_a_trusted_proxy_states() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let folder = Folder::new();
    let rules = r#"
        [proxy]
        addresses = ["127.0.0.1"]
        tenant = "acme"
        any_account = true"#;
    let file = folder.write("access.toml", rules);
    let arguments = [
        "--access",
        &file,
        "--client-requests-per-second",
        "1",
        "--patience",
        "100ms",
    ];
    let mut edge = Edge::start(&installation, &arguments);
    edge.ready().await;
    let of = async |client: &str| {
        let headers = [("x-forwarded-for", client), ("origin", "https://a.example")];
        edge.send(Method::GET, "/api/v1/accounts/alice", &headers, "")
            .await
    };
    let throttled = eventually(PATIENCE, "it is throttled", async || {
        let response = of("192.0.2.1").await;
        (response.status == 429)
            .then_some(())
            .ok_or(response.status)?;
        Ok::<_, u16>(response)
    })
    .await;
    throttled.fails_with(429, "throttled");
    // There is no worker.
    of("192.0.2.2").await.fails_with(503, "unavailable");
}
