//! The time until a worker is ready, with many active streams. It is printed, not asserted. Run
//! with `STREAMWATCH_STREAMS=1000000 cargo test --release --features broker-tests --test broker --
//! --ignored --nocapture cold_start`.

use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use streamwatch::client::StreamId;
use tokio::time::Instant;

use crate::fixture::{Broker, Installation, PATIENCE, Worker, eventually, playing};

/// Most unconfirmed messages.
const UNDER_WAY: usize = 1_000;

/// Publishes heartbeats of one stream per account, with three pairs of metadata.
async fn fill(installation: &Installation<'_>, accounts: u64) {
    let channel = installation.broker.confirming_channel().await;
    let names = installation.names();
    let sending = (0..accounts).map(async |n| {
        let (account, stream) = (format!("viewer-{n:07}"), StreamId::generate());
        let body = format!(
            r#"{{"account":"{account}","stream":"{stream}","metadata":{{"device":"tv","channel":"sports-{}","platform":"linux"}}}}"#,
            n % 50
        );
        let mut headers = FieldTable::default();
        let value = AMQPValue::LongString(account.into());
        headers.insert("account".into(), value);
        let sent = channel.basic_publish(
            names.exchange().into(),
            "acme.heartbeat".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            BasicProperties::default().with_headers(headers),
        );
        sent.await.expect("it is sent").await.expect("it is confirmed")
    });
    let mut sent = futures_util::stream::iter(sending).buffer_unordered(UNDER_WAY);
    while let Some(confirmed) = sent.next().await {
        assert!(confirmed.is_ack(), "{confirmed:?}");
    }
}

async fn counts(worker: &Worker, accounts: u64) {
    eventually(PATIENCE * 10, "the worker counts them all", async || {
        let counted = worker.metric("streamwatch_active_streams", "").await;
        (counted == accounts as f64).then_some(()).ok_or(counted)
    })
    .await;
}

async fn until_ready(installation: &Installation<'_>, how: &str) -> Worker {
    let began = Instant::now();
    let mut worker = installation.worker();
    eventually(
        PATIENCE * 10,
        "the worker is ready",
        async || match worker.get("/readyz").await {
            Ok((200, _)) => Ok(()),
            other => Err(other),
        },
    )
    .await;
    println!("{how}: ready after {:.2?}", began.elapsed());
    let one = playing(&installation.backend(), "viewer-0000007").await;
    assert_eq!(one.len(), 1);
    println!("{how}: first strong answer after {:.2?}", began.elapsed());
    worker.ready().await;
    worker
}

#[tokio::test]
#[ignore = "it measures, and takes minutes"]
async fn cold_start() {
    let accounts = std::env::var("STREAMWATCH_STREAMS").map_or(100_000, |n| {
        n.parse().expect("STREAMWATCH_STREAMS is a number")
    });
    let broker = Broker::start().await;
    let installation = Installation::bare(&broker);
    let declare = ["topology", "declare", "--ttl", "1h"];
    let declare = [
        declare.as_slice(),
        &["--snapshot-every", "10s", "--retention", "10h"],
    ]
    .concat();
    let declared = installation.cli(&declare).await;
    assert!(declared.status.success(), "{declared:?}");
    let mut worker = installation.ready_worker().await;
    let began = Instant::now();
    fill(&installation, accounts).await;
    println!("{accounts} streams published after {:.2?}", began.elapsed());
    counts(&worker, accounts).await;
    println!("counted after {:.2?}", began.elapsed());
    worker.kill().await;

    let mut worker = until_ready(&installation, "without a snapshot").await;
    let written = "streamwatch_snapshots_total";
    eventually(PATIENCE * 4, "a snapshot is written", async || {
        let written = worker.metric(written, "outcome=\"written\"").await;
        (written >= 2.0).then_some(()).ok_or(written)
    })
    .await;
    let seconds = worker.metric("streamwatch_snapshot_seconds", "").await;
    let bytes = worker.metric("streamwatch_snapshot_bytes", "").await;
    println!("a snapshot takes {seconds:.2} s and {bytes} bytes");
    worker.kill().await;
    let worker = until_ready(&installation, "from a snapshot").await;
    counts(&worker, accounts).await;
}
