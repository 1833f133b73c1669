//! A batcher of several partitions that computes the partition of every account.

use std::collections::HashMap;

use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use streamwatch::client::{Batcher, StatusQuery, StreamId};

use super::{batcher, entries, heartbeat, keys, leader};
use crate::fixture::exit::DONE;
use crate::fixture::{
    Broker, Edge, Installation, PATIENCE, account, eventually, heavy, patient, playing, streams,
    strong, tenant,
};

/// Players by account, each with a stream.
type Players = Vec<(String, StreamId)>;

/// New streams of accounts of different lengths and alphabets.
fn players(count: usize) -> Players {
    let name = |n| match n % 4 {
        0 => format!("player-{n}"),
        1 => format!("Zuschauer ü/{n}"),
        2 => format!("視聴者{n}"),
        _ => format!("{}{n}", "long ".repeat(n % 24)),
    };
    let all = (0..count).map(|n| (name(n), StreamId::generate()));
    all.collect()
}

/// Whether RabbitMQ computes the bucket of an account as this release does.
async fn has_known_hash() -> bool {
    Broker::version().await >= (3, 13)
}

fn knows_all(batcher: &Batcher) -> bool {
    batcher.has_partition(&tenant(), &account("nobody"))
}

/// Requests the status of other accounts, until the partition of every account is known or 1,000
/// replies have arrived. Returns their number.
async fn learn(batcher: &Batcher) -> usize {
    let mut replies = 0;
    while !knows_all(batcher) && replies < 1_000 {
        let asked = (replies..replies + 50).map(async |n| {
            let (acme, asked) = (tenant(), account(&format!("asked-{n}")));
            batcher.status(&acme, &asked, &StatusQuery::default()).await
        });
        for reply in join_all(asked).await {
            reply.expect("a reply");
            replies += 1;
        }
    }
    replies
}

/// Sends a heartbeat of each player.
async fn beat(batcher: &Batcher, players: &Players) {
    let sent = players
        .iter()
        .map(|(name, stream)| heartbeat(batcher, name, *stream));
    for confirmed in join_all(sent).await {
        confirmed.expect("a confirm");
    }
}

/// Asserts that the log of each account's partition has its only heartbeat, in one of few batches.
async fn only_in_batches(installation: &Installation<'_>, partitions: u16, players: &Players) {
    let mut found: HashMap<_, Vec<_>> = players
        .iter()
        .map(|(_, stream)| (*stream, vec![]))
        .collect();
    let mut batches = 0;
    for partition in 0..partitions {
        for entry in entries(installation, partition).await {
            let mut is_of_players = false;
            for event in entry.events {
                if let Some(places) = found.get_mut(&event.stream) {
                    places.push((entry.key.clone(), partition));
                    is_of_players = true;
                }
            }
            batches += usize::from(is_of_players);
        }
    }
    let most = players.len() / 100 + usize::from(partitions) * 3;
    assert!(batches <= most, "{batches} messages");
    let backend = patient(&installation.backend());
    let checked = stream::iter(players).map(async |(name, stream)| {
        let status = backend.status(&tenant(), &account(name), &strong()).await;
        let status = status.expect("a reply");
        assert_eq!(streams(&status), [*stream], "{name}");
        let partition = status.partition.expect("a partition").partition;
        let expected = [("acme.batch".to_owned(), partition)];
        assert_eq!(found[stream], expected, "{name}");
    });
    checked.buffer_unordered(100).collect::<Vec<_>>().await;
}

#[tokio::test]
async fn heartbeats_of_2_000_accounts_without_a_reply_are_sent_in_batches() {
    if !has_known_hash().await {
        return;
    }
    heavy().await;
    let installation = Installation::partitions(Broker::shared().await, "10m", 4).await;
    let worker = installation.ready_worker().await;
    let batcher = batcher(&installation);
    let mut news = batcher.news();
    let replies = learn(&batcher).await;
    assert!((96..400).contains(&replies), "{replies} replies");
    let players = players(2_000);
    beat(&batcher, &players).await;
    only_in_batches(&installation, 4, &players).await;
    eventually(PATIENCE, "the worker reports the heartbeats", async || {
        let entries = "streamwatch_entries_total";
        let seen = worker.metric(entries, "kind=\"heartbeat\"").await;
        (seen >= 2_000.0).then_some(()).ok_or(seen)
    })
    .await;
    let rejected = "streamwatch_bad_entries_total";
    assert!(worker.metric(rejected, "wrong_partition").await < 0.5);
    assert_eq!(news.next().now_or_never(), None, "no bad news");
}

#[tokio::test]
async fn each_heartbeat_counts_after_the_number_of_partitions_has_changed() {
    if !has_known_hash().await {
        return;
    }
    for (before, after) in [(4, 3_u16), (3, 4)] {
        let broker = Broker::shared().await;
        let installation = Installation::partitions(broker, "60s", before).await;
        let mut worker = installation.ready_worker().await;
        let batcher = batcher(&installation);
        learn(&batcher).await;
        assert!(knows_all(&batcher));
        assert!(worker.stop().await.success());
        let delete = ["topology", "delete", "--yes"];
        installation.cli(&delete).await.exits(DONE);
        let partitions = after.to_string();
        let declare = ["topology", "declare", "--partitions", &partitions];
        installation.cli(&declare).await.exits(DONE);
        let _worker = installation.ready_worker().await;
        let backend = installation.backend();
        let moved = players(200);
        for (name, _) in &moved {
            leader(&backend, name).await;
        }

        beat(&batcher, &moved).await;
        for (name, stream) in &moved {
            eventually(PATIENCE, "it counts", async || {
                let playing = playing(&backend, name).await;
                (playing == [*stream]).then_some(()).ok_or(playing)
            })
            .await;
        }
        assert!(!knows_all(&batcher), "a batch was rejected");
        learn(&batcher).await;
        assert!(knows_all(&batcher), "of {after} partitions");
        let ended = moved.iter().map(async |(name, stream)| {
            let (acme, account) = (tenant(), account(name));
            let stopped = batcher.stop(&acme, &account, *stream).await;
            stopped.expect("a confirm");
        });
        join_all(ended).await;
        let players = players(400).split_off(200);
        beat(&batcher, &players).await;
        only_in_batches(&installation, after, &players).await;
        for (name, _) in &moved {
            assert!(playing(&backend, name).await.is_empty(), "{name}");
        }
    }
}

#[tokio::test]
async fn partitions_are_learned_account_by_account_if_rabbitmq_has_another_hash() {
    if has_known_hash().await {
        return;
    }
    let installation = Installation::partitions(Broker::shared().await, "60s", 4).await;
    let _worker = installation.ready_worker().await;
    let batcher = batcher(&installation);
    assert_eq!(learn(&batcher).await, 1_000);
    assert!(!knows_all(&batcher));
    let [known, unknown] = [(); 2].map(|()| StreamId::generate());
    for (name, stream, key) in [
        ("asked-7", known, "acme.batch"),
        ("nobody", unknown, "acme.heartbeat"),
    ] {
        heartbeat(&batcher, name, stream).await.expect("a confirm");
        let (acme, account) = (tenant(), account(name));
        let status = batcher.status(&acme, &account, &strong()).await;
        let status = status.expect("a reply");
        assert_eq!(streams(&status), [stream]);
        let partition = status.partition.expect("a partition").partition;
        let log = entries(&installation, partition).await;
        assert_eq!(keys(&log, stream), [key]);
    }
}

#[tokio::test]
async fn an_edge_sends_the_heartbeats_of_all_accounts_in_batches_after_some_hundred_states() {
    if !has_known_hash().await {
        return;
    }
    let installation = Installation::partitions(Broker::shared().await, "60s", 4).await;
    let mut worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let beat = async |from: usize| {
        let sent = (from..from + 50).map(async |n| {
            let stream = StreamId::generate();
            let at = format!("/api/v1/accounts/viewer-{n}/streams/{stream}/heartbeat");
            edge.post(&at, "").await.is(204);
            stream
        });
        join_all(sent).await
    };
    for from in (0..400).step_by(50) {
        beat(from).await;
    }
    // No reply states the partitions of further accounts.
    assert!(worker.stop().await.success());
    let sent = beat(400).await;
    let mut found = Vec::new();
    for partition in 0..4 {
        let log = entries(&installation, partition).await;
        let all = sent.iter().flat_map(|stream| keys(&log, *stream));
        found.extend(all.map(str::to_owned));
    }
    assert_eq!(found, vec!["acme.batch"; sent.len()]);
}
