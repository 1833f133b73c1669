//! The log is deleted and declared again under a running worker, which detects it and starts over.

use futures_util::future::join_all;
use lapin::options::QueueDeleteOptions;
use streamwatch::client::{OpenRequest, Opening, StreamId};

use crate::fixture::{
    Broker, Installation, PATIENCE, Worker, account, eventually, heartbeat, playing, tenant,
};

const TTL: &str = "10s";

async fn delete_log(installation: &Installation<'_>) {
    let channel = installation.broker.channel().await;
    let log = installation.names().log(0);
    channel
        .queue_delete(log.into(), QueueDeleteOptions::default())
        .await
        .expect("the log is deleted");
}

async fn starts_over(worker: &mut Worker) {
    eventually(PATIENCE, "the worker starts over", async || {
        let times = worker.metric("streamwatch_started_over_total", "").await;
        (times >= 1.0).then_some(()).ok_or(times)
    })
    .await;
    worker.ready().await;
}

#[tokio::test]
async fn a_shorter_log_than_the_previous_one_is_detected() {
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let mut worker = installation.ready_worker().await;
    let backend = installation.backend();
    let (old, new) = (StreamId::generate(), StreamId::generate());
    heartbeat(&backend, "old", old)
        .await
        .expect("it is confirmed");
    assert_eq!(playing(&backend, "old").await, [old]);

    delete_log(&installation).await;
    worker.not_ready().await;
    installation.declare(TTL).await;
    starts_over(&mut worker).await;

    assert_eq!(playing(&backend, "old").await, []);
    heartbeat(&backend, "new", new)
        .await
        .expect("it is confirmed");
    assert_eq!(playing(&backend, "new").await, [new]);
    let request = OpenRequest::default();
    let opening = backend.open(&tenant(), &account("new"), &request).await;
    let (_, opening) = opening.expect("a worker answers");
    assert!(
        matches!(&opening, Opening::Opened { activity, .. } if activity.streams.len() == 2),
        "{opening:?}"
    );
    assert!(worker.stop().await.success());
}

#[tokio::test]
async fn a_longer_log_than_the_previous_one_is_detected() {
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let mut worker = installation.ready_worker().await;
    let backend = installation.backend();
    let (old, new) = (StreamId::generate(), StreamId::generate());
    heartbeat(&backend, "old", old)
        .await
        .expect("it is confirmed");
    assert_eq!(playing(&backend, "old").await, [old]);

    worker.pause().await;
    delete_log(&installation).await;
    installation.declare(TTL).await;
    // The worker's offset exists in the new log, with another entry.
    let beats = join_all((0..1_000).map(|_| heartbeat(&backend, "new", new))).await;
    assert!(beats.iter().all(Result::is_ok));
    worker.resume();
    starts_over(&mut worker).await;

    assert_eq!(playing(&backend, "old").await, []);
    assert_eq!(playing(&backend, "new").await, [new]);
    assert!(worker.stop().await.success());
}

#[tokio::test]
async fn a_topology_that_is_deleted_and_declared_again_is_served_with_its_new_settings() {
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let mut worker = installation.ready_worker().await;
    let deleted = installation.cli(&["topology", "delete", "--yes"]).await;
    assert!(deleted.status.success(), "{deleted:?}");
    worker.not_ready().await;
    installation.declare("5s").await;
    starts_over(&mut worker).await;
    let request = OpenRequest::default();
    let backend = installation.backend();
    let opening = backend.open(&tenant(), &account("alice"), &request).await;
    let (_, opening) = opening.expect("a worker answers");
    assert!(
        matches!(opening, Opening::Opened { ttl, .. } if ttl.as_secs() == 5),
        "{opening:?}"
    );
}
