//! An edge whose installation is replaced by one with other partitions.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use streamwatch::client::StreamId;

use super::stream_of;
use crate::fixture::{
    Broker, Edge, Installation, PATIENCE, Worker, eventually, exit::DONE, free_port, playing,
};

/// Accounts: enough for each partition.
const ACCOUNTS: usize = 24;

/// Players by account, each with a stream.
type Players = BTreeMap<String, StreamId>;

/// Opens a stream of each account, which states its partition to the edge.
async fn open(edge: &Edge) -> Players {
    let opened = (0..ACCOUNTS).map(async |n| {
        let (name, stream) = (format!("viewer-{n}"), StreamId::generate());
        edge.put(&stream_of(&name, stream), "").await.is(200);
        (name, stream)
    });
    join_all(opened).await.into_iter().collect()
}

/// Sends a heartbeat of each player at the same moment, as one batch of each partition.
async fn beat(edge: &Edge, players: &Players) -> Vec<u16> {
    let sent = players.iter().map(async |(name, stream)| {
        let at = format!("{}/heartbeat", stream_of(name, stream));
        edge.post(&at, "").await.status
    });
    join_all(sent).await
}

/// The number of batches with a wrong partition, at the worker's last report.
async fn wrong(worker: &Worker) -> f64 {
    let rejected = "streamwatch_bad_entries_total";
    worker.metric(rejected, "wrong_partition").await
}

/// The number of heartbeats that count, at the worker's last report.
async fn refreshed(worker: &Worker) -> f64 {
    let entries = "streamwatch_entries_total";
    worker.metric(entries, "refreshed").await
}

/// Waits until the edge serves all players of another installation with the same streams.
async fn goes_on(edge: &Edge, installation: &Installation<'_>, worker: &Worker, players: &Players) {
    let backend = installation.backend();
    eventually(PATIENCE, "all heartbeats are confirmed", async || {
        let sent = beat(edge, players).await;
        let stored = sent.iter().all(|status| *status == 204);
        stored.then_some(()).ok_or(sent)
    })
    .await;
    // Only a leader states that the partition of a batch is wrong. Until then, each player sends its
    // next heartbeat.
    eventually(PATIENCE, "all players count", async || {
        for (name, stream) in players {
            let found = playing(&backend, name).await;
            if found != [*stream] {
                let sent = beat(edge, players).await;
                return Err((name, found, sent));
            }
        }
        Ok(())
    })
    .await;
    eventually(PATIENCE, "wrong batches are reported", async || {
        let seen = wrong(worker).await;
        (seen >= 1.0).then_some(()).ok_or(seen)
    })
    .await;
    eventually(PATIENCE, "no batch is wrong any more", async || {
        let (before, seen) = (wrong(worker).await, refreshed(worker).await);
        let sent = beat(edge, players).await;
        assert!(sent.iter().all(|status| *status == 204), "{sent:?}");
        eventually(PATIENCE, "the worker reports them", async || {
            let more = refreshed(worker).await - seen;
            (more >= ACCOUNTS as f64).then_some(()).ok_or(more)
        })
        .await;
        let more = wrong(worker).await - before;
        (more < 0.5).then_some(()).ok_or(more)
    })
    .await;
    let ended = players.iter().map(async |(name, stream)| {
        let at = stream_of(name, stream);
        assert_eq!(edge.get(&at).await.is(200).json["state"], "active");
        edge.delete(&at).await.is(204);
        assert!(playing(&backend, name).await.is_empty(), "{name}");
        let gone = edge.post(&format!("{at}/heartbeat"), "").await;
        assert_eq!(gone.fails_with(410, "ended").json["reason"], "stopped");
    });
    join_all(ended).await;
}

#[tokio::test]
async fn an_edge_counts_on_after_the_number_of_partitions_has_changed() {
    for (before, after) in [(4, 2), (1, 3), (3, 1)] {
        let broker = Broker::shared().await;
        let installation = Installation::partitions(broker, "60s", before).await;
        let mut worker = installation.ready_worker().await;
        let edge = Edge::open_to_all(&installation, &[]).await;
        let players = open(&edge).await;
        let sent = beat(&edge, &players).await;
        assert!(sent.iter().all(|status| *status == 204), "{sent:?}");
        assert!(worker.stop().await.success());

        let delete = ["topology", "delete", "--yes"];
        installation.cli(&delete).await.exits(DONE);
        let sent = beat(&edge, &players).await;
        assert!(sent.iter().all(|status| *status == 503), "{sent:?}");
        let partitions = after.to_string();
        let declare = ["topology", "declare", "--partitions", &partitions];
        installation.cli(&declare).await.exits(DONE);
        let worker = installation.ready_worker().await;
        goes_on(&edge, &installation, &worker, &players).await;
    }
}

#[tokio::test]
async fn an_edge_keeps_counting_after_another_rabbitmq_takes_the_address() {
    let port = free_port().to_string();
    let first = Broker::start_with(&["--port", &port]).await;
    let installation = Installation::partitions(&first, "60s", 4).await;
    let worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let players = open(&edge).await;
    let sent = beat(&edge, &players).await;
    assert!(sent.iter().all(|status| *status == 204), "{sent:?}");
    drop(worker);
    first.kill().await;

    let second = Broker::start_with(&["--port", &port]).await;
    let (user, password) = first.user().split_once(':').expect("a password");
    second.ctl(&["change_password", user, password]).await;
    let declare = ["topology", "declare", "--partitions", "2"];
    installation.cli(&declare).await.exits(DONE);
    let worker = installation.ready_worker().await;
    goes_on(&edge, &installation, &worker, &players).await;
    assert_eq!(edge.readiness().await, Some(200));
}

#[tokio::test]
async fn heartbeats_stored_before_a_worker_runs_are_lost_for_one_interval_at_most() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 4).await;
    let mut worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let players = open(&edge).await;
    assert!(worker.stop().await.success());
    let delete = ["topology", "delete", "--yes"];
    installation.cli(&delete).await.exits(DONE);
    let declare = ["topology", "declare", "--partitions", "2"];
    installation.cli(&declare).await.exits(DONE);
    // No worker can state yet that the partitions of these batches are wrong.
    let sent = beat(&edge, &players).await;
    assert!(sent.iter().all(|status| *status == 204), "{sent:?}");
    let worker = installation.ready_worker().await;
    goes_on(&edge, &installation, &worker, &players).await;
}
