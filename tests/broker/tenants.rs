//! Requests about a tenant: each partition answers once, whatever happens to workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::types::ShortString;
use serde_json::Value;
use streamwatch::client::{
    AccountsRequest, Backend, ClientError, Metadata, Stop, StreamId, ValueCounts,
};
use tokio::task::JoinHandle;

use crate::fixture::exit::{DONE, NO_ANSWER};
use crate::fixture::{
    Broker, Caller, Installation, PATIENCE, Worker, account, eventually, heavy, patient, tenant,
};

/// Accounts that play all the time. Account n has 1 + n % 3 streams.
const VIEWERS: usize = 30;

fn viewer(n: usize) -> String {
    format!("viewer-{n:02}")
}

const fn streams_of(n: usize) -> usize {
    1 + n % 3
}

const fn channel_of(n: usize) -> &'static str {
    if n.is_multiple_of(2) { "news" } else { "sport" }
}

fn expected_by_channel() -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for n in 0..VIEWERS {
        *counts.entry(channel_of(n).to_owned()).or_default() += streams_of(n) as u64;
    }
    counts
}

async fn declare(installation: &Installation<'_>, partitions: u16) {
    let partitions = partitions.to_string();
    let declare = [
        "topology",
        "declare",
        "--ttl",
        "60s",
        "--snapshot-every",
        "1s",
        "--count-by",
        "channel,device",
        "--partitions",
        &partitions,
    ];
    installation.cli(&declare).await.exits(DONE);
}

async fn play(backend: &Backend, name: &str, stream: StreamId, channel: &str) {
    let metadata = Metadata::new(&mut [("channel", channel)]).expect("a pair");
    let (tenant, account) = (tenant(), account(name));
    let patient = patient(backend);
    let sent = patient.heartbeat(
        &tenant,
        &account,
        stream,
        Some(metadata.into()),
        Duration::ZERO,
    );
    assert_eq!(sent.await.expect("it is confirmed"), None);
}

async fn start_viewers(backend: &Backend) {
    let streams = (0..VIEWERS).flat_map(|n| (0..streams_of(n)).map(move |_| n));
    let streams: Vec<_> = streams.map(|n| (viewer(n), channel_of(n))).collect();
    let playing = streams
        .iter()
        .map(|(name, channel)| play(backend, name, StreamId::generate(), channel));
    join_all(playing).await;
}

/// Accounts of the same tenant that start and stop streams all the time.
struct Churn {
    stops: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Churn {
    fn start(backend: Backend) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let rounds: Arc<AtomicU64> = Arc::default();
        let (stop, count) = (Arc::clone(&stops), Arc::clone(&rounds));
        let task = tokio::spawn(async move {
            for round in 0_usize.. {
                let names: Vec<_> = (0..40).map(|n| format!("churn-{n}")).collect();
                let streams: Vec<_> = names.iter().map(|_| StreamId::generate()).collect();
                let begin = names.iter().zip(&streams).map(|(name, stream)| {
                    let channel = ["a", "b", "c"][round % 3];
                    play(&backend, name, *stream, channel)
                });
                join_all(begin).await;
                let patient = patient(&backend);
                let end = names.iter().zip(&streams).map(|(name, stream)| {
                    let (patient, name, stream) = (patient.clone(), name.clone(), *stream);
                    async move { patient.stop(&tenant(), &account(&name), stream).await }
                });
                for stopped in join_all(end).await {
                    stopped.expect("it is confirmed");
                }
                count.fetch_add(1, Relaxed);
                if stop.load(Relaxed) {
                    return;
                }
            }
        });
        Self {
            stops,
            rounds,
            task,
        }
    }

    async fn finish(self) -> u64 {
        self.stops.store(true, Relaxed);
        self.task.await.expect("it panics nowhere");
        self.rounds.load(Relaxed)
    }
}

/// Asks once, and returns the replies by partition. Panics if a partition replies twice.
async fn replies(
    caller: &mut Caller<'_>,
    kind: &str,
    header: Option<&str>,
    body: &str,
    partitions: u16,
) -> BTreeMap<u64, Value> {
    let id = StreamId::generate().to_string();
    caller.ask_each(kind, &id, header, body).await;
    let mut replies = BTreeMap::new();
    while replies.len() < usize::from(partitions) {
        let reply = caller.reply_within(PATIENCE).await;
        let reply = reply.unwrap_or_else(|| panic!("{} of {partitions} replied", replies.len()));
        let correlation_id = reply.properties.correlation_id().as_ref();
        assert_eq!(correlation_id.map(ShortString::as_str), Some(id.as_str()));
        let json: Value = serde_json::from_slice(&reply.data).expect("JSON");
        assert_eq!(json["type"], kind, "{json}");
        assert_eq!(json["partitions"], partitions, "{json}");
        let partition = json["partition"].as_u64().expect("a number");
        let twice = replies.insert(partition, json);
        assert_eq!(twice, None, "a partition replied twice");
    }
    replies
}

fn by_channel<'v>(replies: impl Iterator<Item = &'v Value>) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for reply in replies {
        let counts = reply["by"]["channel"].as_object();
        for (value, count) in counts.into_iter().flatten() {
            *sum.entry(value.clone()).or_default() += count.as_u64().expect("a number");
        }
    }
    sum
}

/// Without the streams that come and go.
fn of_viewers(mut counts: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    counts.retain(|value, _| value == "news" || value == "sport");
    counts
}

/// Asks in every way, and checks the answers.
async fn check(caller: &mut Caller<'_>, backend: &Backend, partitions: u16) {
    for header in [None, Some("viewer-00"), Some("viewer-01"), Some("nobody")] {
        let body = r#"{"group_by": ["channel"]}"#;
        let totals = replies(caller, "totals", header, body, partitions).await;
        assert_eq!(
            of_viewers(by_channel(totals.values())),
            expected_by_channel()
        );
        let body = r#"{"min_active": 3, "limit": 1000}"#;
        let accounts = replies(caller, "accounts", header, body, partitions).await;
        let listed = accounts.values().flat_map(|it| it["accounts"].as_array());
        let listed = listed
            .flatten()
            .map(|it| it["account"].as_str().expect("a name").to_owned());
        let three = (0..VIEWERS).filter(|n| streams_of(*n) == 3).map(viewer);
        assert_eq!(listed.collect::<BTreeSet<_>>(), three.collect());
    }
    let backend = patient(backend);
    let totals = backend.totals(&tenant(), &[]).await.expect("an answer");
    assert_eq!(totals.missing, Vec::<u16>::new());
    let ValueCounts { values, others } = totals.by["channel"].clone();
    assert_eq!(
        of_viewers(values.into_iter().collect()),
        expected_by_channel()
    );
    assert_eq!(others, 0);
    assert!(totals.by["device"].values.is_empty());

    // Page by page, in order and without gaps.
    let mut query = AccountsRequest {
        limit: 7,
        ..AccountsRequest::all(tenant())
    };
    let mut found = Vec::new();
    loop {
        let page = backend.accounts(&query).await.expect("an answer");
        assert_eq!(page.missing, Vec::<u16>::new());
        assert!(page.accounts.len() <= 7);
        found.extend(
            page.accounts
                .into_iter()
                .map(|it| (it.account.to_string(), it.count)),
        );
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{found:?}");
    found.retain(|(name, _)| name.starts_with("viewer-"));
    let expected = (0..VIEWERS).map(|n| (viewer(n), streams_of(n) as u32));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

async fn snapshots(worker: &Worker, outcome: &str) -> f64 {
    worker.metric("streamwatch_snapshots_total", outcome).await
}

async fn each_partition_answers_once(partitions: u16) {
    heavy().await;
    let installation = Installation::bare(Broker::shared().await);
    declare(&installation, partitions).await;
    let mut first = installation.ready_worker().await;
    let mut second = installation.ready_worker().await;
    let backend = installation.backend();
    start_viewers(&backend).await;
    let mut caller = Caller::new(&installation).await;
    let churn = Churn::start(installation.backend());
    check(&mut caller, &backend, partitions).await;

    first.kill().await;
    check(&mut caller, &backend, partitions).await;

    let before = snapshots(&second, "written").await;
    eventually(
        PATIENCE,
        "each partition has a later snapshot",
        async || {
            let written = snapshots(&second, "written").await;
            (written >= before + 2.0 * f64::from(partitions))
                .then_some(())
                .ok_or(written)
        },
    )
    .await;
    second.kill().await;
    let mut again = installation.ready_worker().await;
    let restored = snapshots(&again, "restored").await;
    assert!((restored - f64::from(partitions)).abs() < 0.5, "{restored}");
    check(&mut caller, &backend, partitions).await;

    let rounds = churn.finish().await;
    assert!(rounds > 2, "{rounds}");
    // The metrics have the same counts.
    let expected = expected_by_channel()["news"] as f64;
    eventually(PATIENCE, "the metrics are right", async || {
        let series = again.probe().series().await;
        let news = series.iter().filter(|(name, _)| {
            name.starts_with("streamwatch_tenant_active_streams_by")
                && name.contains("tenant=\"acme\"")
                && name.contains("key=\"channel\",value=\"news\"")
        });
        let news: f64 = news.map(|(_, value)| value).sum();
        ((news - expected).abs() < 0.5).then_some(()).ok_or(news)
    })
    .await;
    assert!(again.stop().await.success());
}

#[tokio::test]
async fn the_only_partition_answers_once_under_load_and_after_kills_and_a_restart() {
    each_partition_answers_once(1).await;
}

#[tokio::test]
async fn each_of_four_partitions_answers_once_under_load_and_after_kills_and_a_restart() {
    each_partition_answers_once(4).await;
}

#[tokio::test]
async fn the_client_and_the_program_report_partitions_that_do_not_answer() {
    let installation = Installation::bare(Broker::shared().await);
    declare(&installation, 2).await;
    let mut worker = installation.worker_of("0");
    worker.ready().await;
    let backend = installation.backend().with_patience(Duration::from_secs(3));
    let page = backend.accounts(&AccountsRequest::all(tenant())).await;
    assert_eq!(page.expect("partition 0 answers").missing, [1]);
    let asked = ["--json", "totals", "acme", "--timeout", "3s"];
    let totals = installation.cli(&asked).await.exits(NO_ANSWER).json();
    assert_eq!(totals["missing_partitions"], serde_json::json!([1]));
    assert_eq!(
        totals["by"],
        serde_json::json!({"channel": {}, "device": {}})
    );

    let nobody = Installation::bare(Broker::shared().await);
    declare(&nobody, 2).await;
    let backend = nobody.backend().with_patience(Duration::from_secs(1));
    let error = backend.totals(&tenant(), &[]).await.expect_err("no worker");
    assert!(matches!(error, ClientError::NoAnswer(_)), "{error:?}");
}

#[tokio::test]
async fn the_program_lists_accounts_and_counts_by_the_keys_of_the_settings() {
    let installation = Installation::bare(Broker::shared().await);
    installation.declare("60s").await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    start_viewers(&backend).await;
    let listed = [
        "--json",
        "accounts",
        "acme",
        "--min-active",
        "3",
        "--limit",
        "2",
    ];
    let listed = installation.cli(&listed).await.exits(DONE).json();
    let accounts = serde_json::json!([
        {"account": "viewer-02", "count": 3}, {"account": "viewer-05", "count": 3}
    ]);
    assert_eq!(
        (&listed["accounts"], &listed["next"]),
        (&accounts, &"viewer-05".into())
    );
    let rest = [
        "accounts",
        "acme",
        "--min-active",
        "3",
        "--after",
        "viewer-26",
    ];
    let rest = installation.cli(&rest).await.exits(DONE).stdout.clone();
    assert!(
        rest.contains("1 account with at least 3 active streams"),
        "{rest}"
    );
    assert!(rest.contains("viewer-29"), "{rest}");

    // Nothing is counted yet.
    let totals = ["totals", "acme", "--by", "channel"];
    let none = installation.cli(&totals).await.exits(DONE).stdout.clone();
    assert!(none.contains("channel is not counted"), "{none}");
    let set = ["topology", "set", "--count-by", "channel"];
    installation.cli(&set).await.exits(DONE);
    // Streams that started before are counted too.
    eventually(PATIENCE, "all streams are counted", async || {
        let totals = ["--json", "totals", "acme", "--by", "channel"];
        let totals = installation.cli(&totals).await.exits(DONE).json();
        let expected = serde_json::json!({ "channel": expected_by_channel() });
        (totals["by"] == expected).then_some(()).ok_or(totals)
    })
    .await;
    // The stop of a whole account is counted at once.
    let all = Stop {
        target: streamwatch::client::StopTarget::All,
        reason: None,
    };
    let (tenant, viewer) = (tenant(), account("viewer-02"));
    let stopped = backend.send_stop(&tenant, &viewer, all, Duration::ZERO);
    stopped.await.expect("it is confirmed");
    eventually(PATIENCE, "its streams are not counted", async || {
        let totals = backend
            .totals(&tenant, &[])
            .await
            .map_err(|e| e.to_string())?;
        let news = totals.by["channel"]
            .values
            .iter()
            .find(|(value, _)| value == "news");
        let expected = expected_by_channel()["news"] - 3;
        match news {
            Some((_, count)) if *count == expected => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn an_earlier_topology_is_reported_with_the_command_that_completes_it() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 1).await;
    let _worker = installation.ready_worker().await;
    let channel = installation.broker.channel().await;
    let each = installation.names().each_partition();
    let deleted = channel.exchange_delete(
        each.into(),
        lapin::options::ExchangeDeleteOptions::default(),
    );
    deleted.await.expect("it was there");
    let backend = installation.backend();
    let error = backend
        .totals(&tenant(), &[])
        .await
        .expect_err("no routing");
    assert!(error.to_string().contains("topology declare"), "{error}");
    installation.declare("60s").await;
    let totals = backend.totals(&tenant(), &[]).await.expect("an answer");
    assert_eq!((totals.streams, totals.missing), (0, vec![]));
}
