//! `streamwatch watch`: lifecycle events and rejected messages on the command line.

use serde_json::{Value, json};
use streamwatch::client::{Backend, OpenRequest, StreamId};

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;

use crate::fixture::exit::{DONE, NO_TOPOLOGY, WRONG_SETTINGS};
use crate::fixture::{
    Broker, Follower, Installation, PATIENCE, Process, account, eventually, tenant,
};

/// Starts `streamwatch watch` with more arguments, and waits until it has subscribed.
async fn watching(installation: &Installation<'_>, arguments: &[&str]) -> Process {
    let mut all = vec!["watch"];
    all.extend(arguments);
    let process = Process::spawn(installation.broker, &installation.namespace, &all);
    reports(&process, "watching ").await;
    process
}

async fn reports(process: &Process, text: &str) {
    let what = format!("it says {text:?}");
    eventually(PATIENCE, &what, async || {
        let output = process.stderr();
        output.contains(text).then_some(()).ok_or(output)
    })
    .await;
}

/// Waits for `count` lines of output.
async fn lines(process: &Process, count: usize) -> Vec<String> {
    let what = format!("{count} lines are printed");
    eventually(PATIENCE, &what, async || {
        let lines: Vec<_> = process.stdout().lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines.clone()).ok_or(lines)
    })
    .await
}

async fn begins(backend: &Backend, name: &str) -> StreamId {
    let request = OpenRequest::default();
    let opened = backend.open(&tenant(), &account(name), &request).await;
    opened.expect("a worker answers").0
}

/// Opens and stops a stream.
async fn watches_a_little(backend: &Backend, name: &str) -> StreamId {
    let stream = begins(backend, name).await;
    let stopped = backend.stop(&tenant(), &account(name), stream).await;
    stopped.expect("the stop is confirmed");
    stream
}

/// Publishes to the players' exchange, like a client that violates the contract.
async fn publish(installation: &Installation<'_>, messages: &[(&str, &str)]) {
    let connection = installation.broker.connection().await;
    let channel = connection.create_channel().await.expect("a channel opens");
    for (key, body) in messages {
        let published = channel.basic_publish(
            installation.names().exchange().into(),
            (*key).into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            BasicProperties::default().with_app_id("player 7".into()),
        );
        published.await.expect("it is written");
    }
    let closed = connection.close(200, "OK".into()).await;
    closed.expect("all of it has been taken");
}

#[tokio::test]
async fn watch_prints_lifecycle_events_as_text_and_as_json() {
    let installation = Installation::declared(Broker::shared().await, "20s").await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    let follower = Follower::start(&installation).await;
    let mut people = watching(&installation, &[]).await;
    let mut programs = watching(&installation, &["acme", "bob", "--json", "--count", "2"]).await;
    let other = watching(&installation, &["other"]).await;

    let alices = watches_a_little(&backend, "alice").await;
    let bobs = watches_a_little(&backend, "bob").await;

    assert_eq!(programs.ended().await.code(), Some(DONE));
    let events = follower.events(4).await;
    let received = events.iter().filter(|m| m.text("account") == "bob");
    let expected = received.map(|message| {
        let mut object = message.json();
        object["message_id"] = message.id().into();
        object
    });
    let printed = programs.stdout();
    let printed = printed
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    assert_eq!(printed.collect::<Vec<_>>(), expected.collect::<Vec<_>>());

    let printed = lines(&people, 4).await;
    for (line, (name, stream, what)) in printed.iter().zip([
        ("acme/alice", alices, "opened     1 active"),
        ("acme/alice", alices, "stopped    0 active"),
        ("acme/bob  ", bobs, "opened     1 active"),
        ("acme/bob  ", bobs, "stopped    0 active"),
    ]) {
        assert!(
            line.ends_with(&format!("Z  {name}  {stream}  {what}")),
            "{line}"
        );
    }
    people.signal("TERM");
    assert_eq!(people.ended().await.code(), Some(DONE));
    assert_eq!(other.stdout(), "", "it shows another tenant");
}

#[tokio::test]
async fn watch_ends_on_a_closed_pipe_after_its_time_and_on_ctrl_c() {
    // Long enough that no event follows the first one.
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    let script = "\"$0\" watch --for 1m | head -n 1";
    let mut piped = Process::shell(installation.broker, &installation.namespace, script);
    reports(&piped, "watching ").await;
    let stream = begins(&backend, "alice").await;
    // Without a second line, whose write would fail, the closed pipe must be detected.
    piped.ended().await;
    assert!(piped.stdout().contains(&stream.to_string()));
    assert_eq!(piped.stdout().lines().count(), 1);

    let timed = installation.cli(&["watch", "--for", "100ms"]).await;
    timed.exits(DONE);
    let mut interrupted = watching(&installation, &[]).await;
    interrupted.signal("INT");
    assert_eq!(interrupted.ended().await.code(), Some(DONE));
}

#[tokio::test]
async fn watch_reports_an_error_and_resumes_when_its_exchange_is_back() {
    let broker = Broker::shared().await;
    let bare = Installation::bare(broker);
    for command in [&["watch"][..], &["watch", "--rejected"]] {
        let finished = bare.cli(command).await;
        finished
            .exits(NO_TOPOLOGY)
            .reports("streamwatch topology declare");
    }
    let wrong = [
        "watch",
        "a cme",
        "alice",
        "--rejected",
        "--for",
        "1",
        "--count",
        "0",
    ];
    let finished = bare.cli(&wrong).await;
    finished
        .exits(WRONG_SETTINGS)
        .reports("4 settings are wrong");

    let installation = Installation::declared(broker, "20s").await;
    let _worker = installation.ready_worker().await;
    let process = watching(&installation, &["acme"]).await;
    let follower = Follower::start(&installation).await;
    follower.delete_exchange().await;
    reports(&process, "streamwatch topology declare").await;
    installation.cli(&["topology", "declare"]).await.exits(DONE);
    reports(&process, "again; some may have been missed").await;
    let stream = watches_a_little(&installation.backend(), "alice").await;
    let printed = lines(&process, 2).await;
    assert!(printed[1].contains(&stream.to_string()), "{printed:?}");
}

#[tokio::test]
async fn watch_rejected_shows_rejected_messages_without_body_and_account() {
    let installation = Installation::declared(Broker::shared().await, "20s").await;
    let workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    eventually(PATIENCE, "one worker leads", async || {
        let held = |n: usize| workers[n].metric("streamwatch_leader", "");
        (held(0).await + held(1).await > 0.5)
            .then_some(())
            .ok_or(())
    })
    .await;
    let all = watching(&installation, &["--rejected", "--json"]).await;
    let people = watching(&installation, &["acme", "--rejected"]).await;

    publish(
        &installation,
        &[
            (
                "acme.heartbeat.s3cret",
                r#"{"account":"s3cret","stream":7}"#,
            ),
            ("acme.init", r#"{"account":"s3cret","#),
            ("acme.play", r#"{"account":"s3cret"}"#),
            ("a cme.stop", r#"{"account":"s3cret"}"#),
        ],
    )
    .await;
    let mut received: Vec<Value> = lines(&all, 4)
        .await
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    // Messages reach the workers by three routes.
    received.sort_by_key(|it| it["code"].to_string());
    let known: Vec<_> = received
        .iter()
        .map(|it| (&it["code"], &it["source"], &it["routing_key"], &it["field"]))
        .collect();
    let none = &Value::Null;
    assert_eq!(
        known,
        [
            (
                &json!("bad_field"),
                &json!("log"),
                &json!("acme.heartbeat"),
                &json!("stream")
            ),
            (
                &json!("bad_json"),
                &json!("init"),
                &json!("acme.init"),
                none
            ),
            (
                &json!("bad_tenant"),
                &json!("log"),
                &json!("a cme.stop"),
                none
            ),
            (
                &json!("unknown_kind"),
                &json!("unrouted"),
                &json!("acme.play"),
                none
            ),
        ]
    );
    for it in &received {
        assert_eq!(it["type"], "rejected");
        assert_eq!(it["app_id"], "player 7");
        assert!(it["body_bytes"].as_u64() >= Some(20), "{it}");
        assert!(!it.to_string().contains("s3cret"), "{it}");
    }
    let printed = lines(&people, 3).await.join("\n");
    for text in [
        "log       acme.heartbeat",
        "bad_json",
        "unknown_kind",
        "app_id=player 7",
    ] {
        assert!(printed.contains(text), "{text:?} is not in\n{printed}");
    }
    assert!(
        !printed.contains("bad_tenant"),
        "it has no tenant\n{printed}"
    );
    // Both workers read the log; the leader publishes.
    assert_eq!(all.stdout().lines().count(), 4);
}
