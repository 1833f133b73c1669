//! A batcher while RabbitMQ is killed, blocked, frozen or away.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use streamwatch::client::{Backend, Batcher, Client, ClientError, Metadata, Names, StreamId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{ONLY, heartbeat, log, neighbours, stop};
use crate::fixture::{Broker, Installation, PATIENCE, account, eventually, heavy, tenant};

/// A short patience, for errors.
const SOON: Duration = Duration::from_secs(1);
const RAISE: &str = "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).";
const CLEAR: &str = "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).";

fn patient(installation: &Installation<'_>, patience: Duration) -> Batcher {
    let batcher = Batcher::new(installation.backend().with_patience(patience));
    for n in 0..10 {
        batcher.learn(&tenant(), &account(&format!("known-{n}")), ONLY);
    }
    batcher
}

/// The name of one of 20 accounts.
fn name(n: usize) -> String {
    let known = if n.is_multiple_of(2) {
        "known"
    } else {
        "other"
    };
    format!("{known}-{}", n / 2 % 10)
}

/// Waits until the broker confirms an event.
async fn confirms(batcher: &Batcher) {
    eventually(PATIENCE, "an event is confirmed", async || {
        heartbeat(batcher, "known-1", StreamId::generate()).await
    })
    .await;
}

/// The confirmed events by stream: a heartbeat, or a heartbeat and a stop.
type Confirmed = Arc<Mutex<HashMap<StreamId, Vec<&'static str>>>>;

fn record(confirmed: &Confirmed, stream: StreamId, kind: &'static str) {
    let mut all = confirmed.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(stream).or_default().push(kind);
}

async fn write(
    batcher: Batcher,
    name: String,
    confirmed: Confirmed,
    stopped: watch::Receiver<bool>,
) {
    while !*stopped.borrow() {
        let stream = StreamId::generate();
        let [begun, ended] = tokio::join!(
            heartbeat(&batcher, &name, stream),
            stop(&batcher, &name, stream)
        )
        .into();
        for (sent, kind) in [(begun, "heartbeat"), (ended, "stop")] {
            match sent {
                Ok(()) => record(&confirmed, stream, kind),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

#[tokio::test]
async fn each_confirmed_event_is_in_the_log_after_the_broker_was_killed_under_load() {
    heavy().await;
    let broker = Broker::start().await;
    let installation = Installation::partitions(&broker, "10m", 2).await;
    let backend = installation.backend();
    // It binds the exchange of the partitions again.
    let _worker = installation.ready_worker().await;
    let (names, here) = neighbours(&backend, 20).await;
    broker.sync_declarations().await;
    // The events of half of the accounts are sent in batches, the others alone.
    let batcher = Batcher::new(backend.with_patience(Duration::from_secs(2)));
    for name in &names[..10] {
        batcher.learn(&tenant(), &account(name), here);
    }
    let confirmed = Confirmed::default();
    let (end, ended) = watch::channel(false);
    let mut writers = JoinSet::new();
    for n in 0..60 {
        let confirmed = Arc::clone(&confirmed);
        let name = names[n % names.len()].clone();
        writers.spawn(write(batcher.clone(), name, confirmed, ended.clone()));
    }
    let count = || {
        let all = confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        all.len()
    };
    for rounds in 1..=2 {
        let before = count();
        eventually(2 * PATIENCE, "events are confirmed", async || {
            let more = count() - before;
            (more >= 1_000).then_some(()).ok_or(more)
        })
        .await;
        if rounds == 1 {
            broker.kill().await;
            broker.start_again().await;
        }
    }
    let _ = end.send(true);
    writers.join_all().await;

    let log = log::entries(&installation, here.partition).await;
    let batches = log.iter().filter(|entry| entry.key == "acme.batch").count();
    assert!(batches > 5 && log.len() > batches, "{batches}");
    let mut found: HashMap<StreamId, Vec<&str>> = HashMap::new();
    for event in log.iter().flat_map(|entry| &entry.events) {
        found.entry(event.stream).or_default().push(&event.kind);
    }
    let confirmed = confirmed.lock().unwrap_or_else(PoisonError::into_inner);
    for (stream, kinds) in &*confirmed {
        let found = &found[stream];
        for kind in kinds {
            assert!(found.contains(kind), "{stream}: {found:?} without {kind}");
        }
        if kinds.len() == 2 {
            assert_eq!(found.first(), Some(&"heartbeat"), "{stream}: {found:?}");
        }
    }
}

#[tokio::test]
async fn events_that_wait_during_an_alarm_fail_and_are_not_sent_after_it() {
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "10m").await;
    let batcher = patient(&installation, SOON);
    confirms(&batcher).await;
    broker.ctl(&["eval", RAISE]).await;
    eventually(PATIENCE, "the connection is blocked", async || {
        let sent = heartbeat(&batcher, "known-1", StreamId::generate()).await;
        match sent {
            Err(ClientError::Blocked(_)) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let late: Vec<_> = (0..200).map(|n| (name(n), StreamId::generate())).collect();
    let began = Instant::now();
    let sent = late
        .iter()
        .map(|(name, stream)| heartbeat(&batcher, name, *stream));
    for sent in join_all(sent).await {
        assert!(matches!(sent, Err(ClientError::Blocked(_))), "{sent:?}");
    }
    let waited = began.elapsed();
    assert!(waited >= SOON && waited < 3 * SOON, "{waited:?}");
    // These wait for the end of the alarm.
    let waiting = patient(&installation, PATIENCE);
    let kept: Vec<_> = (0..50).map(|n| (name(n), StreamId::generate())).collect();
    let sent = kept.iter().map(async |(name, stream)| {
        eventually(PATIENCE, "it is confirmed", async || {
            heartbeat(&waiting, name, *stream).await
        })
        .await;
    });
    tokio::join!(join_all(sent), broker.ctl(&["eval", CLEAR]));
    confirms(&batcher).await;
    let log = log::entries(&installation, 0).await;
    let events = log.iter().flat_map(|entry| &entry.events);
    let found: HashSet<_> = events.map(|event| event.stream).collect();
    assert!(kept.iter().all(|(_, stream)| found.contains(stream)));
    assert!(!late.iter().any(|(_, stream)| found.contains(stream)));

    // A frozen node confirms nothing.
    broker.freeze().await;
    let began = Instant::now();
    let sent = ["known-1", "other-1"].map(|n| heartbeat(&batcher, n, StreamId::generate()));
    let sent = join_all(sent).await;
    let waited = began.elapsed();
    broker.thaw();
    for sent in sent {
        assert!(matches!(sent, Err(ClientError::NotTaken(_))), "{sent:?}");
    }
    assert!(waited < 3 * SOON, "{waited:?}");
    confirms(&batcher).await;
}

#[tokio::test]
async fn a_batcher_without_a_broker_holds_16_mib_of_events_and_fails_each_in_time() {
    // Nothing listens at this port.
    let nowhere = "amqp://127.0.0.1:1".parse().expect("an address");
    let client = Client::connect(nowhere, Names::default());
    let batcher = Batcher::new(Backend::new(client).with_patience(SOON));
    batcher.learn(&tenant(), &account("known-1"), ONLY);
    let pairs = (0..16).map(|n| (n.to_string(), "m".repeat(256)));
    let metadata = Metadata::new(&mut pairs.collect::<Vec<_>>()).expect("metadata");
    let began = Instant::now();
    let sent = (0..5_000).map(async |n| {
        let (acme, account) = (tenant(), account(&format!("known-{}", n % 2)));
        let stream = StreamId::generate();
        let metadata = Some(&metadata);
        batcher
            .heartbeat(&acme, &account, stream, None, metadata)
            .await
    });
    let [mut waited, mut rejected] = [0, 0];
    for sent in join_all(sent).await {
        match sent {
            Err(ClientError::Broker(_)) => waited += 1,
            Err(ClientError::Backlog) => rejected += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(waited > 2_000 && rejected > 500, "{waited} and {rejected}");
    // Not one after the other: that would take over an hour.
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    // There is room again.
    let sent = heartbeat(&batcher, "known-1", StreamId::generate()).await;
    assert!(matches!(sent, Err(ClientError::Broker(_))), "{sent:?}");
}

#[tokio::test]
async fn each_event_gets_the_error_of_a_missing_topology() {
    let installation = Installation::bare(Broker::shared().await);
    let batcher = patient(&installation, PATIENCE);
    for name in ["known-1", "other-1"] {
        let sent = heartbeat(&batcher, name, StreamId::generate()).await;
        assert!(matches!(sent, Err(ClientError::NoTopology)), "{sent:?}");
    }
    installation.declare("10s").await;
    for name in ["known-1", "other-1"] {
        eventually(PATIENCE, "it is confirmed", async || {
            heartbeat(&batcher, name, StreamId::generate()).await
        })
        .await;
    }
}
