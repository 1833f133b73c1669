//! `play --rate` and `--find-max`: their reports are correct. No rate and no time is asserted.

use serde_json::Value;
use tokio::net::TcpListener;

use crate::fixture::exit::{DONE, FAILED, NO_ANSWER, NO_TOPOLOGY, WRONG_SETTINGS};
use crate::fixture::{Broker, Installation, PATIENCE, Process, eventually, heavy};

const RATE: [&str; 5] = ["play", "--rate", "300", "--duration", "2s"];

/// Asserts that every published event was confirmed and applied.
fn is_whole(report: &Value) {
    assert_eq!(report["complete"], true, "{report}");
    assert!(report["published"].as_u64() > Some(0), "{report}");
    assert_eq!(report["published"], report["confirmed"], "{report}");
    assert_eq!(report["confirmed"], report["applied"], "{report}");
}

/// Starts a load of one minute, and waits for its first progress line.
async fn running(installation: &Installation<'_>) -> Process {
    let play = ["play", "--rate", "200", "--duration", "60s", "--json"];
    let play = Process::spawn(installation.broker, &installation.namespace, &play);
    eventually(PATIENCE, "the load reports progress", async || {
        let output = play.stderr();
        output
            .contains("200/s: published")
            .then_some(())
            .ok_or(output)
    })
    .await;
    play
}

fn report(play: &Process) -> Value {
    serde_json::from_str(&play.stdout()).expect("one object")
}

#[tokio::test]
async fn all_events_of_a_rate_are_published_confirmed_applied_and_reported() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let _worker = installation.ready_worker().await;
    let mut arguments = vec!["--json"];
    arguments.extend(RATE);
    arguments.extend(["--accounts", "30", "--connections", "2", "--seed", "7"]);
    let played = installation.cli(&arguments).await;
    let report = played.exits(DONE).json();
    is_whole(&report);
    for (field, value) in [
        ("rate_per_s", 300),
        ("requested", 600),
        ("published", 600),
        ("seed", 7),
        ("accounts", 30),
        ("streams", 60),
        ("partitions", 1),
        ("connections", 2),
        ("refused", 0),
        ("unroutable", 0),
        ("lost", 0),
    ] {
        assert_eq!(report[field], value, "{field}: {report}");
    }
    for field in [
        "published_per_s",
        "confirmed_per_s",
        "applied_per_s",
        "published_for_ms",
        "lag_at_end_ms",
        "applied_after_ms",
    ] {
        assert!(report[field].as_f64() > Some(0.0), "{field}: {report}");
    }
    for probe in ["lag", "init", "status"] {
        let waits = &report[probe];
        assert!(waits["answered"].as_u64() > Some(0), "{probe}: {report}");
        assert!(waits["unanswered"].is_u64(), "{probe}: {report}");
        for field in ["p50_ms", "p90_ms", "p99_ms", "max_ms"] {
            let ms = waits[field].as_f64();
            assert!(ms > Some(0.0), "{probe}.{field}: {report}");
        }
        let unanswered = waits["unanswered"].as_u64() > Some(0);
        assert_eq!(waits["max_at_least"], unanswered, "{probe}: {report}");
    }
    assert_eq!(report["interrupted"], false);
    assert_eq!(report["error"], Value::Null);

    // The streams are those of the seed: two of each account.
    let status = installation
        .cli(&["--json", "status", "demo", "viewer-007", "--strong"])
        .await;
    let streams = status.exits(DONE).json()["activity"]["count"].as_u64();
    assert!(streams <= Some(2) && streams > Some(0), "{status:?}");
}

#[tokio::test]
async fn all_events_of_a_rate_in_batches_are_confirmed_and_applied() {
    heavy().await;
    let installation = Installation::partitions(Broker::shared().await, "30s", 4).await;
    let worker = installation.ready_worker().await;
    let play = [
        "--json",
        "play",
        "--rate",
        "2000",
        "--duration",
        "2s",
        "--batch",
        "50",
        "--accounts",
        "60",
        "--warm-up",
        "1s",
    ];
    let report = installation.cli(&play).await.exits(DONE).json();
    is_whole(&report);
    assert_eq!(
        (&report["batch"], &report["published"]),
        (&50.into(), &4_000.into()),
        "events of the warm-up are published, confirmed and applied too"
    );
    // Each of 120 streams had its turn.
    let active = worker.metric("streamwatch_active_streams", "").await;
    assert!(active >= 120.0, "{active}");
    let rejected = worker.metric("streamwatch_bad_entries_total", "").await;
    assert_eq!(rejected, 0.0);
}

#[tokio::test]
async fn the_text_report_has_the_same_figures_and_covers_several_partitions() {
    heavy().await;
    let installation = Installation::partitions(Broker::shared().await, "10s", 3).await;
    let _worker = installation.ready_worker().await;
    let played = installation.cli(&RATE).await;
    played
        .exits(DONE)
        .reports("6000 streams on 3000 accounts, 3 partitions, 4 connections, seed ")
        .reports("expire 10s after the end");
    for text in [
        "published  600 ",
        "confirmed  600 ",
        "applied    600 ",
        "lag ",
        "init ",
        "status ",
        "p99",
        "unanswered",
        "everything published was confirmed and applied",
    ] {
        let output = &played.stdout;
        assert!(output.contains(text), "{text:?} is missing: {output}");
    }
}

#[tokio::test]
async fn the_search_ends_and_reports_a_rate_that_held() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let _worker = installation.ready_worker().await;
    let search = [
        "--json",
        "play",
        "--find-max",
        "--step",
        "500ms",
        "--duration",
        "3s",
    ];
    let found = installation.cli(&search).await;
    let report = found.exits(DONE).json();
    is_whole(&report);
    let steps = report["steps"].as_array().expect("steps");
    let held = steps.iter().filter(|step| step["holds"] == true);
    let held = held.filter_map(|step| step["rate_per_s"].as_u64()).max();
    assert!(held.is_some(), "{report}");
    assert_eq!(report["max_per_s"].as_u64(), held, "{report}");
    assert_eq!(report["rate_per_s"].as_u64(), held, "{report}");
    found.reports("/s holds: ");
}

#[tokio::test]
async fn missing_requirements_are_reported_before_anything_is_published() {
    let bare = Installation::bare(Broker::shared().await);
    bare.cli(&RATE)
        .await
        .exits(NO_TOPOLOGY)
        .reports("streamwatch topology declare");
    bare.declare("10s").await;
    let alone = bare.cli(&["play", "--find-max"]).await;
    alone.exits(NO_ANSWER).reports("check that one runs");
    assert_eq!(alone.stdout, "");
    for (more, word) in [
        (&["--find-max"][..], "--find-max"),
        (&["--session", "5s"], "--session"),
        (&["--crash-rate", "0.5"], "--crash-rate"),
        (&["--max-active", "2"], "--max-active"),
        (&["--step", "5s"], "--step"),
        (&["--connections", "0"], "--connections: 1 to"),
    ] {
        let wrong = bare.cli(&[&RATE[..], more].concat()).await;
        wrong.exits(WRONG_SETTINGS).reports(word);
    }
    let wrong = bare.cli(&["play", "--connections", "2"]).await;
    wrong.exits(WRONG_SETTINGS).reports("--rate");
    let wrong = bare.cli(&["play", "--rate", "0"]).await;
    wrong.exits(WRONG_SETTINGS).reports("--rate: 1 to");
    let long = [&RATE[..], &["--warm-up", "2s"]].concat();
    let wrong = bare.cli(&long).await;
    wrong.exits(WRONG_SETTINGS).reports("--warm-up: shorter");
}

#[tokio::test]
async fn an_interrupted_load_reports_its_results_and_a_dead_worker() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let mut worker = installation.ready_worker().await;
    let mut play = running(&installation).await;
    play.signal("INT");
    assert_eq!(play.ended().await.code(), Some(DONE), "{}", play.stderr());
    let seen = report(&play);
    is_whole(&seen);
    assert_eq!(seen["interrupted"], true);

    let mut play = running(&installation).await;
    worker.kill().await;
    play.signal("INT");
    assert_eq!(play.ended().await.code(), Some(FAILED), "{}", play.stderr());
    let seen = report(&play);
    assert_eq!(seen["complete"], false, "{seen}");
    assert_eq!(seen["published"], seen["confirmed"], "{seen}");
    let error = seen["error"].as_str().expect("why");
    assert!(error.contains("no worker replied"), "{seen}");
}

#[tokio::test]
async fn connections_start_at_each_address_and_an_interruption_does_not_wait_for_them() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let _worker = installation.ready_worker().await;
    // It accepts connections and never responds.
    let deaf = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = deaf.local_addr().expect("its address");
    let addresses = format!("{},amqp://{at}", installation.broker.url());
    let environment = [
        ("AMQP_URL", addresses.as_str()),
        ("STREAMWATCH_NAMESPACE", &installation.namespace),
    ];
    let load = ["play", "--rate", "200", "--connections", "1000"];
    let mut play = Process::spawn_with(&environment, &load);
    // The first address responds, so only a connection that starts with the second arrives here.
    let accepted = tokio::time::timeout(PATIENCE, deaf.accept()).await;
    let _silent = accepted.expect("a connection").expect("a socket");
    play.signal("INT");
    assert_eq!(play.ended().await.code(), Some(FAILED), "{}", play.stderr());
    let output = play.stderr();
    assert!(output.contains("nothing was published"), "{output}");
    assert_eq!(play.stdout(), "");
}

#[tokio::test]
async fn a_load_whose_broker_dies_ends_and_reports_the_outcome_of_its_events() {
    heavy().await;
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "10s").await;
    let _worker = installation.ready_worker().await;
    let mut play = running(&installation).await;
    broker.kill().await;
    assert_eq!(play.ended().await.code(), Some(FAILED), "{}", play.stderr());
    let seen = report(&play);
    assert_eq!(seen["complete"], false, "{seen}");
    let count = |field: &str| seen[field].as_u64().expect("a number");
    assert_eq!(count("published"), count("confirmed") + count("lost"));
    let error = seen["error"].as_str().expect("why");
    assert!(error.contains("connection to RabbitMQ is lost"), "{seen}");
}
