//! Snapshots keep state that is older than the log's oldest entry; unusable ones are detected.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use streamwatch::broker::{Addresses, Connection, LogFollower, LogFrom, SnapshotLog};
use streamwatch::client::{
    ActiveStream, Backend, Metadata, OpenRequest, Opening, StatusQuery, StreamId, StreamState,
};
use streamwatch::domain::{
    Counters, EntryId, LogTime, Settings, SnapshotHeader, SnapshotTrailer, WallShift,
};
use streamwatch::wire::snapshot::{Encoder, PartContent};

use tokio::task::JoinSet;

use crate::fixture::{
    Broker, Installation, PATIENCE, Worker, account, eventually, exit, heartbeat, patient, playing,
    strong, tenant,
};

const SNAPSHOTS: &str = "streamwatch_snapshots_total";

/// Declares a log whose retention is some tens of kilobytes.
async fn declare_short_log(installation: &Installation<'_>) {
    let mut arguments = FieldTable::default();
    for (key, value) in [
        ("x-max-length-bytes", 60_000),
        ("x-stream-max-segment-size-bytes", 20_000),
    ] {
        arguments.insert(key.into(), AMQPValue::LongLongInt(value));
    }
    let kind = AMQPValue::LongString("stream".into());
    arguments.insert("x-queue-type".into(), kind);
    let log = installation.names().log(0);
    let options = QueueDeclareOptions::durable();
    let channel = installation.broker.channel().await;
    let declared = channel.queue_declare(log.into(), options, arguments);
    declared.await.expect("the log is declared");
}

async fn declare(installation: &Installation<'_>) {
    let declare = ["topology", "declare", "--ttl", "60s"];
    let declared = [declare.as_slice(), &["--snapshot-every", "1s"]].concat();
    let declared = installation.cli(&declared).await;
    assert!(declared.status.success(), "{declared:?}");
}

async fn connection(installation: &Installation<'_>) -> Connection {
    let addresses: Addresses = installation.broker.url().parse().expect("an address");
    let connection = Connection::open(&addresses, 0, "test").await;
    connection.expect("the broker answers")
}

async fn oldest_offset(installation: &Installation<'_>) -> u64 {
    let (connection, log) = (connection(installation).await, installation.names().log(0));
    let follower = LogFollower::attach(&connection, &log, LogFrom::First).await;
    let entry = follower.expect("the log is there").next().await;
    entry.expect("it has entries").offset()
}

#[tokio::test]
async fn a_log_keeps_no_more_bytes_than_declared_whatever_their_age() {
    let broker = Broker::start().await;
    let installation = Installation::bare(&broker);
    let declare = ["topology", "declare", "--log-bytes", "10000000"];
    installation.cli(&declare).await.exits(exit::DONE);
    let channel = broker.confirming_channel().await;
    let log = installation.names().log(0);
    eventually(PATIENCE, "the first entries are deleted", async || {
        let published = channel.basic_publish(
            "".into(),
            log.as_str().into(),
            BasicPublishOptions::default(),
            &[b'x'; 100_000],
            BasicProperties::default(),
        );
        let confirmed = published.await.expect("it is written").await;
        assert!(confirmed.expect("it is answered").is_ack());
        let oldest = oldest_offset(&installation).await;
        (oldest > 0).then_some(()).ok_or(oldest)
    })
    .await;
}

/// Waits for a snapshot that was started after this call.
async fn written_anew(worker: &Worker) {
    let written = async || worker.metric(SNAPSHOTS, "outcome=\"written\"").await;
    // One may be in progress.
    let two_more = written().await + 2.0;
    eventually(PATIENCE, "snapshots are written", async || {
        let so_far = written().await;
        (so_far >= two_more).then_some(()).ok_or(so_far)
    })
    .await;
}

async fn restored(worker: &Worker) -> f64 {
    worker.metric(SNAPSHOTS, "outcome=\"restored\"").await
}

async fn only_stream(backend: &Backend, name: &str) -> ActiveStream {
    let status = patient(backend)
        .status(&tenant(), &account(name), &strong())
        .await;
    let mut streams = status.expect("a worker answers").activity.streams;
    assert_eq!(streams.len(), 1, "{streams:?}");
    streams.remove(0)
}

async fn state(backend: &Backend, name: &str, stream: StreamId) -> Option<StreamState> {
    let query = StatusQuery {
        stream: Some(stream),
        ..strong()
    };
    let status = patient(backend)
        .status(&tenant(), &account(name), &query)
        .await;
    status.expect("a worker answers").state
}

/// Publishes heartbeats of these and other streams until the log's first entries are deleted.
async fn until_the_log_forgets(installation: &Installation<'_>, streams: [(&str, StreamId); 2]) {
    let backend = installation.backend();
    let output = Metadata::new(&mut [("device", "x".repeat(250))]).expect("within the limits");
    let (tenant, other) = (tenant(), account("other"));
    while oldest_offset(installation).await < 50 {
        for (name, stream) in streams {
            heartbeat(&backend, name, stream)
                .await
                .expect("it is confirmed");
        }
        for _ in 0..50 {
            let (id, output) = (StreamId::generate(), Some(output.clone().into()));
            let sent = backend.heartbeat(&tenant, &other, id, output, Duration::ZERO);
            sent.await.expect("it is confirmed");
        }
    }
}

#[tokio::test]
async fn a_restarted_worker_restores_state_older_than_the_log() {
    let installation = Installation::bare(Broker::shared().await);
    declare_short_log(&installation).await;
    declare(&installation).await;
    let mut before = installation.ready_worker().await;
    let backend = installation.backend();
    let request = OpenRequest {
        metadata: Metadata::new(&mut [("device", "tv")]).expect("within the limits"),
        ..OpenRequest::default()
    };
    let opened = backend.open(&tenant(), &account("alice"), &request).await;
    let (alice, opening) = opened.expect("a worker answers");
    assert!(matches!(opening, Opening::Opened { .. }), "{opening:?}");
    let bob = StreamId::generate();
    heartbeat(&backend, "bob", bob)
        .await
        .expect("it is confirmed");
    let stopped = backend.stop(&tenant(), &account("bob"), bob).await;
    stopped.expect("it is confirmed");
    let streams = [("alice", alice), ("bob", bob)];

    until_the_log_forgets(&installation, streams).await;
    let known = only_stream(&backend, "alice").await;
    assert!(known.admitted && known.metadata.get("device") == Some("tv"));
    written_anew(&before).await;
    before.kill().await;
    let mut after = installation.ready_worker().await;
    assert_eq!(restored(&after).await, 1.0);

    // The player of the stopped stream was not notified, and sends heartbeats.
    heartbeat(&backend, "bob", bob)
        .await
        .expect("it is confirmed");
    assert_eq!(playing(&backend, "bob").await, []);
    assert_eq!(
        state(&backend, "bob", bob).await,
        Some(StreamState::Stopped)
    );
    let still = only_stream(&backend, "alice").await;
    let of = |s: &ActiveStream| (s.stream, s.admitted, s.started_at, s.metadata.clone());
    assert_eq!(of(&still), of(&known));

    // The state is from the snapshot; it is no longer in the log.
    after.kill().await;
    let snapshots = installation.names().snapshots(0);
    installation.delete_queue(snapshots).await;
    let without = installation.ready_worker().await;
    assert_eq!(restored(&without).await, 0.0);
    for (name, stream) in streams {
        heartbeat(&backend, name, stream)
            .await
            .expect("it is confirmed");
    }
    assert!(!only_stream(&backend, "alice").await.admitted);
    assert_eq!(playing(&backend, "bob").await, [bob]);
}

/// Writes a snapshot that starts at an entry of no existing log.
async fn write_foreign(installation: &Installation<'_>, whole: bool) {
    let (connection, queue) = (
        connection(installation).await,
        installation.names().snapshots(0),
    );
    let log = SnapshotLog::open(connection, queue)
        .await
        .expect("it is there");
    let before = log.find().await.expect("it can be read").first().copied();
    let now = LogTime(1 << 40);
    let (mut writer, mut parts) = log.write(now, before).await.expect("it can be written");
    let entry_id = EntryId { writer: 7, seq: 7 };
    let mut contents = vec![PartContent::Header(SnapshotHeader {
        start: 3,
        entry_id,
        first: 0,
        now,
        shift: WallShift::default(),
        settings: Settings::default(),
        full: false,
        full_tenants: Vec::new(),
        local_queues: Vec::new(),
    })];
    if whole {
        contents.push(PartContent::Trailer(SnapshotTrailer {
            end: 4,
            last: 3,
            last_entry_id: entry_id,
            trail: 0,
            announced: None,
            counters: Counters::default(),
        }));
    }
    for content in contents {
        let part = Encoder::default()
            .encode(&parts.next(content))
            .expect("it is small");
        writer.write(part).await.expect("it is confirmed");
    }
    writer.finish().await.expect("it is confirmed");
}

async fn publish_garbage(installation: &Installation<'_>) {
    let channel = installation.broker.channel().await;
    for body in [b"".as_slice(), b"SWS\x03\0\0\0\0", b"SWS\x09 of tomorrow"] {
        let queue = installation.names().snapshots(0);
        let sent = channel.basic_publish(
            "".into(),
            queue.into(),
            Default::default(),
            body,
            BasicProperties::default(),
        );
        let confirm = sent.await.expect("it is sent");
        confirm.await.expect("it is taken");
    }
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_incomplete_or_of_another_log_is_skipped() {
    let installation = Installation::bare(Broker::shared().await);
    declare(&installation).await;
    let mut before = installation.ready_worker().await;
    let backend = installation.backend();
    let request = OpenRequest::default();
    let opened = backend.open(&tenant(), &account("alice"), &request).await;
    let (alice, _) = opened.expect("a worker answers");
    written_anew(&before).await;
    before.kill().await;

    write_foreign(&installation, true).await;
    write_foreign(&installation, false).await;
    publish_garbage(&installation).await;

    let mut after = installation.worker();
    eventually(PATIENCE, "it tries two snapshots", async || {
        let tried = match after.get("/metrics").await {
            Ok(_) => restored(&after).await,
            Err(_) => 0.0,
        };
        (tried == 2.0).then_some(()).ok_or(tried)
    })
    .await;
    after.ready().await;
    assert_eq!(
        after.metric("streamwatch_started_over_total", "").await,
        1.0
    );
    assert_eq!(only_stream(&backend, "alice").await.stream, alice);
    // The next snapshot refers to the last valid one.
    written_anew(&after).await;
    assert!(after.stop().await.success());
    let last = installation.ready_worker().await;
    assert_eq!(restored(&last).await, 1.0);
    assert_eq!(only_stream(&backend, "alice").await.stream, alice);
}

#[tokio::test]
async fn many_workers_find_the_end_of_the_snapshot_log_concurrently() {
    let installation = Installation::bare(Broker::shared().await);
    declare(&installation).await;
    let queue = installation.names().snapshots(0);
    let mut opening = JoinSet::new();
    for _ in 0..20 {
        let (connection, queue) = (connection(&installation).await, queue.clone());
        opening.spawn(async move { SnapshotLog::open(connection, queue).await.map(drop) });
    }
    for opened in opening.join_all().await {
        opened.expect("it is found");
    }
}

#[tokio::test]
async fn the_successor_writes_the_snapshots() {
    let installation = Installation::bare(Broker::shared().await);
    declare(&installation).await;
    let mut holder = installation.ready_worker().await;
    written_anew(&holder).await;
    let other = installation.ready_worker().await;
    assert_eq!(other.metric(SNAPSHOTS, "outcome=\"written\"").await, 0.0);
    holder.kill().await;
    written_anew(&other).await;
}
