//! Each event is counted once, with any number of workers. Applies the aggregation that the
//! metrics' help recommends.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use streamwatch::client::{Backend, OpenRequest, Opening, StreamId};

use crate::fixture::exit::DONE;
use crate::fixture::{
    Broker, Installation, PATIENCE, Worker, account, eventually, heartbeat, tenant,
};

/// Values by name and labels, without the partition.
type Counts = BTreeMap<String, f64>;

/// Metrics derived from the log, which are equal on all workers.
const OF_THE_LOG: &[&str] = &[
    "streamwatch_entries_total",
    "streamwatch_bad_entries_total",
    "streamwatch_admissions_total",
    "streamwatch_stream_duration_seconds_count",
];

async fn of_the_log(worker: &Worker) -> Counts {
    let all = worker.series().await.into_iter();
    let ours = all.filter(|(series, _)| {
        let (name, _) = series.split_once('{').unwrap_or((series, ""));
        OF_THE_LOG.contains(&name)
    });
    ours.map(|(series, value)| (series.replace("partition=\"00\",", ""), value))
        .collect()
}

/// `max()` over workers.
async fn max_of(workers: &[&Worker]) -> Counts {
    let mut max = Counts::new();
    for worker in workers {
        for (series, value) in of_the_log(worker).await {
            let so_far = max.entry(series).or_insert(value);
            *so_far = so_far.max(value);
        }
    }
    max
}

/// The published events, as metrics.
#[derive(Default)]
struct Truth(Counts);

impl Truth {
    fn happened(&mut self, times: u32, series: &str) {
        *self.0.entry(series.to_owned()).or_default() += f64::from(times);
    }

    /// Waits until each of these workers has counted the events, and so their max().
    async fn is_counted_by(&self, workers: &[&Worker]) {
        for worker in workers {
            let what = format!("all is counted by {}", worker.http());
            eventually(PATIENCE, &what, async || {
                self.differs_from(&of_the_log(worker).await)
            })
            .await;
        }
        assert_eq!(self.differs_from(&max_of(workers).await), Ok(()));
    }

    fn differs_from(&self, counted: &Counts) -> Result<(), Vec<String>> {
        if counted.is_empty() {
            return Err(vec!["nothing is counted yet".to_owned()]);
        }
        let received = |n: Option<&f64>| n.copied().unwrap_or_default();
        let names = self.0.keys().chain(counted.keys());
        let wrong =
            names.filter(|name| received(self.0.get(*name)) != received(counted.get(*name)));
        let wrong: Vec<_> = wrong
            .map(|name| format!("{name}: {:?} of {:?}", counted.get(name), self.0.get(name)))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

const STARTED: &str = "streamwatch_entries_total{kind=\"heartbeat\",outcome=\"started\"}";
const REFRESHED: &str = "streamwatch_entries_total{kind=\"heartbeat\",outcome=\"refreshed\"}";
const TOO_LATE: &str = "streamwatch_entries_total{kind=\"heartbeat\",outcome=\"stopped\"}";
const ENDED: &str = "streamwatch_entries_total{kind=\"stop\",outcome=\"ended\"}";
const UNCHANGED: &str = "streamwatch_entries_total{kind=\"stop\",outcome=\"unchanged\"}";
const OPENED: &str = "streamwatch_entries_total{kind=\"open\",outcome=\"opened\"}";
const REFUSED: &str = "streamwatch_entries_total{kind=\"open\",outcome=\"refused\"}";
const ADMITTED: &str = "streamwatch_admissions_total{outcome=\"opened\",reason=\"\"}";
const MAX_ACTIVE: &str = "streamwatch_admissions_total{outcome=\"refused\",reason=\"max_active\"}";
const BAD: &str = "streamwatch_bad_entries_total{reason=\"missing_field\"}";
const BY_STOP: &str = "streamwatch_stream_duration_seconds_count{cause=\"stopped\"}";
const BY_REPLACE: &str = "streamwatch_stream_duration_seconds_count{cause=\"replaced\"}";
const BY_EXPIRY: &str = "streamwatch_stream_duration_seconds_count{cause=\"expired\"}";

/// Publishes one event of each counted kind, on accounts of its own.
async fn something_of_everything(installation: &Installation<'_>, name: &str, truth: &mut Truth) {
    let backend = installation.backend().with_patience(PATIENCE);
    let stream = StreamId::generate();
    for _ in 0..5 {
        let beaten = heartbeat(&backend, name, stream).await;
        beaten.expect("it is confirmed");
    }
    truth.happened(1, STARTED);
    truth.happened(4, REFRESHED);
    let (tenant, account) = (tenant(), account(name));
    let stop = async |stream| {
        let stopped = backend.stop(&tenant, &account, stream).await;
        stopped.expect("it is confirmed");
    };
    stop(stream).await;
    stop(stream).await;
    heartbeat(&backend, name, stream)
        .await
        .expect("it is confirmed");
    truth.happened(1, ENDED);
    truth.happened(1, UNCHANGED);
    truth.happened(1, TOO_LATE);
    truth.happened(1, BY_STOP);

    let first = open(&backend, name, OpenRequest::default()).await;
    let only_one = OpenRequest {
        max_active: Some(1),
        ..OpenRequest::default()
    };
    open(&backend, name, only_one.clone()).await;
    truth.happened(1, REFUSED);
    truth.happened(1, MAX_ACTIVE);
    let instead = OpenRequest {
        replace: vec![first],
        ..only_one
    };
    let second = open(&backend, name, instead).await;
    stop(second).await;
    truth.happened(2, OPENED);
    truth.happened(2, ADMITTED);
    truth.happened(1, BY_REPLACE);
    truth.happened(1, ENDED);
    truth.happened(1, BY_STOP);

    let channel = installation.broker.confirming_channel().await;
    let sent = channel.basic_publish(
        installation.names().exchange().into(),
        "acme.heartbeat".into(),
        BasicPublishOptions::default(),
        b"{}",
        BasicProperties::default(),
    );
    sent.await
        .expect("it is sent")
        .await
        .expect("it is confirmed");
    truth.happened(1, BAD);
}

async fn open(backend: &Backend, name: &str, request: OpenRequest) -> StreamId {
    let opening = backend.open(&tenant(), &account(name), &request).await;
    match opening.expect("a worker answers") {
        (stream, Opening::Opened { .. } | Opening::Refused { .. }) => stream,
    }
}

async fn leader(worker: &Worker) -> f64 {
    worker.metric("streamwatch_leader", "").await
}

async fn leads(worker: &Worker) {
    eventually(PATIENCE, "it leads", async || {
        (leader(worker).await == 1.0).then_some(()).ok_or(0)
    })
    .await;
}

async fn a_snapshot_is_written(worker: &Worker) {
    let written = async || {
        worker
            .metric("streamwatch_snapshots_total", "written")
            .await
    };
    let before = written().await;
    eventually(PATIENCE, "a snapshot is written", async || {
        let so_far = written().await;
        (so_far >= before + 2.0).then_some(()).ok_or(so_far)
    })
    .await;
}

#[tokio::test]
async fn every_event_is_counted_once_while_workers_start_stop_and_take_over() {
    let installation = Installation::bare(Broker::shared().await);
    let declare = [
        "topology",
        "declare",
        "--ttl",
        "10m",
        "--snapshot-every",
        "1s",
    ];
    installation.cli(&declare).await.exits(DONE);
    let mut truth = Truth::default();
    let mut first = installation.ready_worker().await;
    something_of_everything(&installation, "alice", &mut truth).await;
    truth.is_counted_by(&[&first]).await;
    leads(&first).await;

    // A worker that starts later restores earlier events from a snapshot and the log.
    a_snapshot_is_written(&first).await;
    something_of_everything(&installation, "bob", &mut truth).await;
    let mut late = installation.ready_worker().await;
    assert!(late.metric("streamwatch_snapshots_total", "restored").await >= 1.0);
    truth.is_counted_by(&[&first, &late]).await;
    something_of_everything(&installation, "carol", &mut truth).await;
    truth.is_counted_by(&[&first, &late]).await;

    // Another worker leads, and repeated events are not counted again.
    let seen = max_of(&[&first, &late]).await;
    first.kill().await;
    something_of_everything(&installation, "dave", &mut truth).await;
    leads(&late).await;
    truth.is_counted_by(&[&late]).await;

    // Events without a running worker are counted too, and a starting worker shows no series before
    // it has caught up. No series decreases, so rate() sees no reset.
    late.kill().await;
    let backend = installation.backend();
    for _ in 0..3 {
        let stream = StreamId::generate();
        heartbeat(&backend, "erin", stream)
            .await
            .expect("it is confirmed");
        truth.happened(1, STARTED);
    }
    let mut again = [installation.worker(), installation.worker()];
    for worker in &mut again {
        eventually(PATIENCE, "it counts", async || {
            if worker.get("/metrics").await.is_err() {
                return Err("it does not listen yet");
            }
            let counted = of_the_log(worker).await;
            if counted.is_empty() {
                return Err("nothing");
            }
            for (series, before) in &seen {
                assert!(
                    counted[series] >= *before,
                    "{series} went back from {before}"
                );
            }
            Ok(())
        })
        .await;
        worker.ready().await;
    }
    let both = [&again[0], &again[1]];
    truth.is_counted_by(&both).await;

    // And expiry.
    installation
        .cli(&["topology", "set", "--ttl", "2s"])
        .await
        .exits(DONE);
    let stream = StreamId::generate();
    let backend = installation.backend();
    eventually(PATIENCE, "the new TTL holds", async || {
        let ttl = again[0].metric("streamwatch_ttl_seconds", "").await;
        (ttl == 2.0).then_some(()).ok_or(ttl)
    })
    .await;
    heartbeat(&backend, "frank", stream)
        .await
        .expect("it is confirmed");
    truth.happened(1, STARTED);
    truth.happened(1, BY_EXPIRY);
    truth.is_counted_by(&both).await;
}

#[tokio::test]
async fn active_streams_are_equal_by_tenant_by_level_and_in_total() {
    let installation = Installation::partitions(Broker::shared().await, "10m", 2).await;
    let (one, two) = (
        installation.ready_worker().await,
        installation.ready_worker().await,
    );
    let backend = installation.backend();
    let mut streams = 0;
    for n in 0..12 {
        for _ in 0..=n {
            let request = OpenRequest::default();
            open(&backend, &format!("viewer-{n}"), request).await;
            streams += 1;
        }
    }
    for worker in [&one, &two] {
        eventually(PATIENCE, "all are counted", async || {
            let all = worker.series().await;
            let sum = |name: &str, label: &str| -> f64 {
                let of = all.iter().filter(|(series, _)| {
                    series.starts_with(&format!("{name}{{")) && series.contains(label)
                });
                of.map(|(_, value)| value).sum()
            };
            let found = [
                sum("streamwatch_active_streams", ""),
                sum("streamwatch_tenant_active_streams", "tenant=\"acme\""),
                sum("streamwatch_active_accounts", ""),
                sum("streamwatch_tenant_active_accounts", ""),
                sum("streamwatch_concurrent_accounts", ""),
                sum("streamwatch_concurrent_accounts", "streams=\"1\""),
                sum("streamwatch_concurrent_accounts", "streams=\"10\""),
                sum("streamwatch_concurrent_accounts", "streams=\"more\""),
                sum("streamwatch_tenant_active_streams", "tenant=\"(other)\""),
                sum("streamwatch_ready", ""),
            ];
            let expected = [
                f64::from(streams),
                f64::from(streams),
                12.0,
                12.0,
                12.0,
                1.0,
                1.0,
                2.0,
                0.0,
                2.0,
            ];
            if found == expected {
                Ok(())
            } else {
                Err(found)
            }
        })
        .await;
        let (_, page) = worker.get("/metrics").await.expect("it has metrics");
        assert!(!page.contains("viewer-"), "no account is in the metrics");
    }
    let answered = async |worker: &Worker| {
        let name = "streamwatch_request_duration_seconds_count";
        worker.metric(name, "kind=\"init\"").await
    };
    let both = answered(&one).await + answered(&two).await;
    assert_eq!(both, f64::from(streams), "each was answered by one of them");
}
