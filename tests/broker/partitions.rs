//! Several partitions: workers that share them, the intake, settings in every log, restarts.

mod declaring;

use std::time::Duration;

use futures_util::future::join_all;
use streamwatch::client::{ClientError, StreamId};

use crate::fixture::{
    Anonymous, Broker, Installation, PATIENCE, Worker, account, eventually, exit::DONE, heartbeat,
    heavy, playing, playing_if_answered, strong, tenant,
};

fn names(how_many: usize) -> Vec<String> {
    (0..how_many).map(|n| format!("viewer-{n}")).collect()
}

async fn active(worker: &Worker) -> f64 {
    worker.metric("streamwatch_active_streams", "").await
}

async fn forwarded(worker: &Worker) -> f64 {
    worker.metric("streamwatch_intake_total", "forwarded").await
}

/// The number of messages in the queues with these suffixes.
async fn waiting(installation: &Installation<'_>, ends: &[&str]) -> u64 {
    let shown = installation.cli(&["--json", "topology", "show"]).await;
    let shown = shown.exits(0).json();
    let queues = shown["queues"].as_array().expect("a list of queues");
    let of = |queue: &serde_json::Value| {
        let name = queue["name"].as_str().expect("a name");
        let wanted = ends.iter().any(|end| name.ends_with(end));
        wanted.then(|| queue["messages"].as_u64().expect("a number"))
    };
    queues.iter().filter_map(of).sum()
}

#[tokio::test]
async fn workers_that_each_follow_some_partitions_serve_all_of_them() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 4).await;
    let mut even = installation.worker_of("0,2");
    even.ready().await;
    let (_, health) = even.get("/readyz").await.expect("it answers");
    let health: serde_json::Value = serde_json::from_str(&health).expect("JSON");
    let followed = health["partitions"].as_array().expect("a list");
    let followed: Vec<_> = followed.iter().map(|p| p["partition"].as_u64()).collect();
    assert_eq!(followed, [Some(0), Some(2)]);

    let backend = installation.backend().with_patience(Duration::from_secs(9));
    let asked = names(24);
    let questions = asked.iter().map(|name| {
        let (backend, account) = (backend.clone(), account(name));
        tokio::spawn(async move { backend.status(&tenant(), &account, &strong()).await })
    });
    let questions: Vec<_> = questions.collect();
    // Some requests are answered, others wait in the queues of partitions without a worker.
    let answered = || questions.iter().filter(|q| q.is_finished()).count() as u64;
    eventually(PATIENCE, "all are answered or wait", async || {
        let waits = waiting(&installation, &["p01.status", "p03.status"]).await;
        let seen = (answered(), waits);
        let all = seen.0 > 0 && seen.1 > 0 && seen.0 + seen.1 == 24;
        all.then_some(()).ok_or(seen)
    })
    .await;

    let _odd = installation.worker_of("1,3");
    for question in join_all(questions).await {
        let status = question.expect("asking panics nowhere");
        let status = status.expect("it is answered once its partition is followed");
        assert_eq!(status.activity.streams, []);
    }
}

#[tokio::test]
async fn a_worker_killed_with_unacknowledged_messages_of_the_intake_loses_none() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 4).await;
    let mut dies = installation.ready_worker().await;
    dies.pause().await;
    let anonymous = Anonymous::connect(&installation).await;
    let players = names(1_000);
    for name in &players {
        anonymous.heartbeat(name, StreamId::generate()).await;
    }
    anonymous.confirmed().await;
    // The worker is frozen with delivered messages, and never acknowledges them.
    dies.kill().await;

    let serves = installation.ready_worker().await;
    eventually(PATIENCE, "every heartbeat counts", async || {
        let active = active(&serves).await;
        ((active - 1_000.0).abs() < 0.5).then_some(()).ok_or(active)
    })
    .await;
    let backend = installation.backend();
    for name in players.iter().step_by(50) {
        assert_eq!(playing(&backend, name).await.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn two_workers_killed_in_turn_under_load_through_the_intake_lose_nothing() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 3).await;
    let mut workers = vec![
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let anonymous = Anonymous::connect(&installation).await;
    let players = names(1_500);
    for (n, name) in players.iter().enumerate() {
        anonymous.heartbeat(name, StreamId::generate()).await;
        if n % 500 == 250 {
            workers.remove(0).kill().await;
            workers.push(installation.worker());
        }
    }
    anonymous.confirmed().await;
    let serves = workers.last_mut().expect("one was started");
    serves.ready().await;
    eventually(PATIENCE, "every heartbeat counts", async || {
        let active = active(serves).await;
        ((active - 1_500.0).abs() < 0.5).then_some(()).ok_or(active)
    })
    .await;
}

#[tokio::test]
async fn accounts_keep_their_partition_when_the_broker_restarts() {
    let broker = Broker::start().await;
    let installation = Installation::partitions(&broker, "10m", 8).await;
    let mut worker = installation.ready_worker().await;
    let players: Vec<_> = names(64)
        .into_iter()
        .map(|name| (name, StreamId::generate()))
        .collect();
    let backend = installation.backend();
    for (name, stream) in &players {
        heartbeat(&backend, name, *stream)
            .await
            .expect("it is confirmed");
    }
    eventually(PATIENCE, "all play", async || {
        let active = active(&worker).await;
        ((active - 64.0).abs() < 0.5).then_some(()).ok_or(active)
    })
    .await;

    let keeps_ring = Broker::keeps_ring().await;
    for round in 0..2_usize {
        broker.sync_declarations().await;
        assert!(worker.stop().await.success());
        if round == 0 {
            broker.stop().await;
        } else {
            broker.kill().await;
        }
        broker.start_again().await;
        // No worker runs. A message with the header is confirmed only if RabbitMQ has kept the
        // ring, as it does with Khepri; a message without the header waits.
        let backend = installation.backend();
        let (name, stream) = &players[0];
        eventually(
            PATIENCE,
            "it goes to its partition, or is refused",
            async || match heartbeat(&backend, name, *stream).await {
                Ok(()) if keeps_ring => Ok(()),
                Err(ClientError::Busy) if !keeps_ring => Ok(()),
                other => Err(other),
            },
        )
        .await;
        let anonymous = Anonymous::connect(&installation).await;
        for (name, stream) in players.iter().skip(32) {
            anonymous.heartbeat(name, *stream).await;
        }
        anonymous.confirmed().await;

        if round == 0 {
            worker = installation.worker();
        } else {
            // An operator can do this as well.
            installation.cli(&["topology", "declare"]).await.exits(DONE);
        }
        let gone = 16 * (round + 1);
        for (n, (name, stream)) in players.iter().enumerate() {
            eventually(PATIENCE, "it is confirmed", async || {
                if n < gone {
                    backend.stop(&tenant(), &account(name), *stream).await
                } else {
                    heartbeat(&backend, name, *stream).await
                }
            })
            .await;
        }
        if round == 1 {
            worker = installation.worker();
        }
        worker.ready().await;
        // In another partition, a heartbeat would have started a second stream, and a stop ended
        // none.
        let left = 64 - gone;
        eventually(PATIENCE, "all of it is counted, exactly", async || {
            let seen = (forwarded(&worker).await, active(&worker).await);
            let expected = (32, left);
            let exact = (seen.0.round() as usize, seen.1.round() as usize) == expected;
            exact.then_some(()).ok_or(seen)
        })
        .await;
        let backend = installation.backend();
        for (n, (name, stream)) in players.iter().enumerate() {
            let expected = if n < gone { vec![] } else { vec![*stream] };
            assert_eq!(playing(&backend, name).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn stops_confirmed_while_the_broker_restarts_take_effect_at_once_in_every_partition() {
    const CONNECTIONS: usize = 4;
    const ACCOUNTS: usize = 400;
    heavy().await;
    let broker = Broker::start().await;
    let installation = Installation::partitions(&broker, "10m", 4).await;
    broker.sync_declarations().await;
    let mut worker = installation.ready_worker().await;
    // The events of each connection are appended to four logs.
    let backends: Vec<_> = (0..CONNECTIONS).map(|_| installation.backend()).collect();
    let streams: Vec<_> = (0..ACCOUNTS)
        .map(|n| {
            let backend = &backends[n % CONNECTIONS];
            (backend, format!("viewer-{n}"), StreamId::generate())
        })
        .collect();
    let begin = streams
        .iter()
        .map(|(backend, name, stream)| heartbeat(backend, name, *stream));
    for confirmed in join_all(begin).await {
        confirmed.expect("it is confirmed");
    }
    broker.kill().await;
    let stops = streams.iter().map(async |(backend, name, stream)| {
        eventually(2 * PATIENCE, "the stop is confirmed", async || {
            backend.stop(&tenant(), &account(name), *stream).await
        })
        .await;
        let asked = async || playing_if_answered(backend, name).await;
        let left = eventually(2 * PATIENCE, "a worker answers", asked).await;
        (!left.is_empty()).then_some(name)
    });
    let (left, ()) = tokio::join!(join_all(stops), broker.start_again());
    let left: Vec<_> = left.into_iter().flatten().collect();
    assert_eq!(left, Vec::<&String>::new(), "active after their stop");
    worker.ready().await;
}
