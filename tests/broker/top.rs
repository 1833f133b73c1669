//! `streamwatch top` without a terminal: its output as text and JSON, and its behaviour if parts
//! are unreachable.

use serde_json::{Value, json};
use streamwatch::client::{Backend, Metadata, OpenRequest, StreamId};

use crate::fixture::exit::{DONE, NO_TOPOLOGY, UNREACHABLE, WRONG_SETTINGS};
use crate::fixture::{
    Broker, Installation, PATIENCE, Process, Worker, account, cli_with, eventually, tenant,
};

/// A port without a listener.
const NOBODY: &str = "http://127.0.0.1:1/metrics";

fn metrics(workers: &[Worker]) -> String {
    let urls = workers
        .iter()
        .map(|it| format!("http://{}/metrics", it.http()));
    urls.collect::<Vec<_>>().join(",")
}

async fn begins(backend: &Backend, name: &str, device: &str) -> StreamId {
    let request = OpenRequest {
        metadata: Metadata::new(&mut [("device", device)]).expect("a pair"),
        ..OpenRequest::default()
    };
    let opened = backend.open(&tenant(), &account(name), &request).await;
    opened.expect("a worker answers").0
}

async fn ends(backend: &Backend, name: &str, stream: StreamId) {
    let stopped = backend.stop(&tenant(), &account(name), stream).await;
    stopped.expect("the stop is confirmed");
}

/// Starts `streamwatch top` with a short interval and more arguments.
fn top(installation: &Installation<'_>, arguments: &[&str]) -> Process {
    let mut all = vec!["top", "--interval", "250ms"];
    all.extend(arguments);
    Process::spawn(installation.broker, &installation.namespace, &all)
}

/// Waits for a printed document that satisfies `holds`, and returns it.
async fn document(process: &Process, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(2 * PATIENCE, what, async || {
        let printed = process.stdout();
        // The last line may be incomplete.
        let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
        let last = whole.lines().last().unwrap_or("null");
        let last: Value = serde_json::from_str(last).expect("a document a line");
        if holds(&last) {
            Ok(last)
        } else {
            Err((last, process.stderr()))
        }
    })
    .await
}

/// The accounts with the most streams, with their counts.
fn most(document: &Value) -> Vec<(String, u64)> {
    let rows = document["accounts"]["largest"]
        .as_array()
        .into_iter()
        .flatten();
    let row = |row: &Value| {
        Some((
            row["account"].as_str()?.to_owned(),
            row["streams"].as_u64()?,
        ))
    };
    rows.filter_map(row).collect()
}

fn are(document: &Value, expected: &[(&str, u64)]) -> bool {
    let expected = expected.iter().map(|(name, n)| ((*name).to_owned(), *n));
    most(document) == expected.collect::<Vec<_>>()
}

#[tokio::test]
async fn top_once_counts_replicas_once_and_shows_an_account_in_detail() {
    let installation = Installation::partitions(Broker::shared().await, "10m", 2).await;
    let workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let backend = installation.backend();
    let stopped = begins(&backend, "alice", "tv").await;
    let stays = begins(&backend, "alice", "phone").await;
    for n in 0..9 {
        begins(&backend, &format!("viewer-{n}"), "tv").await;
    }
    ends(&backend, "alice", stopped).await;
    for worker in &workers {
        eventually(PATIENCE, "the worker shows ten streams", async || {
            let streams = worker.metric("streamwatch_active_streams", "").await;
            (streams == 10.0).then_some(()).ok_or(streams)
        })
        .await;
    }

    let metrics = metrics(&workers);
    let arguments = [
        "top",
        "--once",
        "--json",
        "--interval",
        "250ms",
        "--metrics",
        &metrics,
    ];
    let arguments = [
        &arguments[..],
        &["--account", "acme/alice", "--group-by", "device"],
    ]
    .concat();
    let finished = installation.cli(&arguments).await;
    let seen = finished.exits(DONE).json();
    assert_eq!(seen["type"], "top");
    assert_eq!(seen["totals"]["streams"], 10);
    assert_eq!(seen["totals"]["accounts"], 10);
    assert_eq!(seen["totals"]["ttl_ms"], 600_000);
    assert_eq!(seen["totals"]["accounts_by_streams"]["1"], 10);
    assert_eq!(
        seen["tenants"][0],
        json!({"tenant": "acme", "streams": 10, "accounts": 10})
    );
    let partitions = seen["partitions"].as_array().expect("a list");
    assert_eq!(partitions.len(), 2);
    for partition in partitions {
        assert_eq!(partition["ready"], 2, "{partition}");
        assert_eq!(partition["replicas"].as_array().map(Vec::len), Some(2));
        assert!(partition["lag_ms"].as_u64() < Some(30_000), "{partition}");
    }
    assert!(seen["per_second"]["heartbeats"].is_number(), "{seen}");
    assert_eq!(seen["problems"], json!([]));
    let activity = &seen["account"]["activity"];
    assert_eq!(activity["count"], 1);
    assert_eq!(activity["streams"][0]["stream"], stays.to_string());
    assert_eq!(activity["by"], json!({"device": {"phone": 1}}));
}

#[tokio::test]
async fn top_lists_accounts_and_counted_values_of_streams_that_began_before_it() {
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    let set = ["topology", "set", "--count-by", "device"];
    installation.cli(&set).await.exits(DONE);
    let workers = [installation.ready_worker().await];
    let backend = installation.backend();
    begins(&backend, "alice", "tv").await;
    begins(&backend, "alice", "phone").await;
    begins(&backend, "bob", "tv").await;
    let metrics = metrics(&workers);
    let programs = top(&installation, &["--json", "--metrics", &metrics]);
    let seen = document(&programs, "both accounts are listed", |it| {
        are(it, &[("alice", 2), ("bob", 1)]) && it["values"][0]["streams"] == 2
    })
    .await;
    assert_eq!(seen["lifecycle"]["opened"], 0);
    assert_eq!(seen["accounts"]["listed"], true);
    let of = |value: &str, streams: u32| json!({"tenant": "acme", "key": "device", "value": value, "streams": streams});
    assert_eq!(seen["values"], json!([of("tv", 2), of("phone", 1)]));
    assert_eq!(seen["problems"], json!([]));
}

#[tokio::test]
async fn top_follows_accounts_as_their_streams_start_and_end() {
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    let workers = [installation.ready_worker().await];
    let metrics = metrics(&workers);
    let mut programs = top(&installation, &["--json", "--metrics", &metrics]);
    let listens = |it: &Value| it["lifecycle"]["subscribed"] == true;
    document(&programs, "it listens", listens).await;
    let mut people = top(&installation, &["--plain", "--metrics", &metrics]);

    let backend = installation.backend();
    let first = begins(&backend, "alice", "tv").await;
    begins(&backend, "bob", "tv").await;
    begins(&backend, "alice", "phone").await;
    let seen = document(&programs, "two accounts play", |it| {
        // Workers may list the accounts before their events arrive.
        are(it, &[("alice", 2), ("bob", 1)])
            && it["totals"]["streams"] == 3
            && it["lifecycle"]["opened"] == 3
    })
    .await;
    assert_eq!(seen["accounts"]["known"], 2);
    assert!(seen["accounts"]["since"].is_string(), "{seen}");
    assert_eq!(seen["per_second"]["expired"], 0.0);
    ends(&backend, "alice", first).await;
    let one_each =
        |it: &Value| are(it, &[("alice", 1), ("bob", 1)]) && it["totals"]["streams"] == 2;
    document(&programs, "one stream has ended", one_each).await;

    eventually(PATIENCE, "people read it too", async || {
        let output = people.stdout();
        let texts = [
            "streams 2  accounts 2  workers 1/1",
            "per second: heartbeats",
            "acme 2",
        ];
        texts
            .iter()
            .all(|text| output.contains(text))
            .then_some(())
            .ok_or(output)
    })
    .await;
    people.signal("TERM");
    programs.signal("INT");
    assert_eq!(people.ended().await.code(), Some(DONE));
    assert_eq!(programs.ended().await.code(), Some(DONE));
}

#[tokio::test]
async fn top_continues_when_a_worker_is_killed_and_finds_the_next_one() {
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let process = top(&installation, &["--json", "--metrics", &metrics(&workers)]);
    let backend = installation.backend();
    begins(&backend, "alice", "tv").await;
    document(&process, "both workers count it", |it| {
        it["totals"]["streams"] == 1 && it["partitions"][0]["ready"] == 2
    })
    .await;
    workers[0].kill().await;
    let seen = document(&process, "one worker is gone", |it| {
        it["workers"][0]["reachable"] == false
    })
    .await;
    let problem = seen["problems"][0].as_str().expect("a problem");
    assert!(
        problem.contains(&workers[0].http().to_string()),
        "{problem}"
    );
    begins(&backend, "alice", "tv").await;
    let seen = document(&process, "the other one counts on", |it| {
        it["totals"]["streams"] == 2 && are(it, &[("alice", 2)])
    })
    .await;
    assert_eq!(seen["partitions"][0]["ready"], 1);
    assert_eq!(seen["workers"][1]["reachable"], true);
}

#[tokio::test]
async fn top_survives_a_restart_of_rabbitmq() {
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "10m").await;
    broker.sync_declarations().await;
    let workers = [installation.ready_worker().await];
    let process = top(&installation, &["--json", "--metrics", &metrics(&workers)]);
    begins(&installation.backend(), "alice", "tv").await;
    let counts_one =
        |it: &Value| it["totals"]["streams"] == 1 && it["lifecycle"]["subscribed"] == true;
    document(&process, "it counts one", counts_one).await;
    broker.kill().await;
    let seen = document(&process, "RabbitMQ is away", |it| {
        it["lifecycle"]["subscribed"] == false && it["totals"]["streams"].is_null()
    })
    .await;
    assert!(
        seen["problems"][0]
            .as_str()
            .is_some_and(|output| output.contains("trying again")),
        "{seen}"
    );
    assert_eq!(
        seen["workers"][0]["reachable"], true,
        "its metrics do not need RabbitMQ"
    );
    broker.start_again().await;
    document(&process, "it counts one again", counts_one).await;
    begins(&installation.backend(), "bob", "tv").await;
    // The metrics may include the stream before the leader announces it.
    let seen = document(&process, "another event arrives", |it| {
        it["totals"]["streams"] == 2 && most(it).contains(&("bob".to_owned(), 1))
    })
    .await;
    assert_eq!(seen["problems"], json!([]));
}

#[tokio::test]
async fn top_shows_available_figures_and_reports_missing_ones() {
    let broker = Broker::shared().await;
    let installation = Installation::declared(broker, "10m").await;
    let workers = [installation.ready_worker().await];
    let metrics = metrics(&workers);
    let once = [
        "top",
        "--once",
        "--json",
        "--interval",
        "250ms",
        "--metrics",
    ];

    // Only metrics.
    let alone = cli_with(&[], &[&once[..], &[&metrics]].concat()).await;
    let seen = alone.exits(DONE).json();
    assert_eq!(seen["totals"]["streams"], 0);
    let problem = seen["problems"][0].as_str().expect("a problem");
    assert!(problem.contains("AMQP_URL is not set"), "{problem}");

    let timed = [
        "top",
        "--plain",
        "--interval",
        "250ms",
        "--for",
        "2s",
        "--metrics",
        &metrics,
    ];
    let timed = installation.cli(&timed).await;
    let output = &timed.exits(DONE).stdout;
    assert!(
        output.matches("streams 0  accounts 0").count() > 1,
        "{output}"
    );

    // Only RabbitMQ.
    let alone = installation.cli(&[&once[..], &[NOBODY]].concat()).await;
    let seen = alone.exits(DONE).json();
    assert_eq!(seen["totals"]["streams"], Value::Null);
    let problem = seen["problems"][0].as_str().expect("a problem");
    assert!(
        problem.contains(NOBODY) && problem.contains("--metrics"),
        "{problem}"
    );
}

#[tokio::test]
async fn top_reports_the_remedy_if_nothing_is_reachable() {
    let wrong = [("AMQP_URL", "amqp://guest:s3cret@127.0.0.1:1/%2f")];
    let arguments = ["top", "--metrics", NOBODY];
    let finished = cli_with(&wrong, &arguments).await;
    finished
        .exits(UNREACHABLE)
        .reports("--metrics names the address that `worker --http` has")
        .reports("cannot connect to RabbitMQ at amqp://guest@127.0.0.1:1");
    assert!(!finished.stderr.contains("s3cret"), "{finished:?}");

    let bare = Installation::bare(Broker::shared().await);
    let finished = bare.cli(&arguments).await;
    finished
        .exits(NO_TOPOLOGY)
        .reports("streamwatch topology declare");

    let wrong = [
        "top",
        "--metrics",
        "https://worker:9419/metrics",
        "--account",
        "alice",
        "--tenant",
        "a cme",
        "--interval",
        "1ms",
        "--for",
        "1",
    ];
    let finished = bare.cli(&wrong).await;
    finished
        .exits(WRONG_SETTINGS)
        .reports("5 settings are wrong");
}
