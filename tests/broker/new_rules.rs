//! Rules version 2 are set on a running system, at one entry for all workers.

mod requests;

use std::time::Duration;

use streamwatch::client::{
    Backend, ClientError, Limit, Metadata, MetadataPatch, OpenRequest, Opening, RefusedReason,
    StoppedReason, StreamId, Terms,
};

use crate::fixture::exit::{DONE, WRONG_SETTINGS};
use crate::fixture::{
    Broker, Follower, Installation, PATIENCE, Races, Worker, eventually, first_of_each, playing,
};
use requests::{WAIT, active, add, agreed, open, send, stop_all};

const TTL: Duration = Duration::from_secs(60);
const TTL_ARGUMENT: &str = "60s";
/// Streams that are opened in a row, so that both workers decide some.
const ROW: usize = 20;

fn pair(key: &str, value: &str) -> Metadata {
    Metadata::new(&mut [(key, value)]).expect("a pair")
}

fn one_device() -> OpenRequest {
    let limit = Limit {
        max: 1,
        distinct: Some("device".into()),
        conditions: Vec::new(),
    };
    OpenRequest {
        metadata: pair("device", "tv"),
        terms: Terms {
            limits: vec![limit],
            ..Terms::default()
        },
        ..OpenRequest::default()
    }
}

fn must_need_rules_2<T: std::fmt::Debug>(outcome: Result<T, ClientError>, field: &str) {
    let Err(ClientError::Refused(problem)) = outcome else {
        panic!("{field}: {outcome:?}");
    };
    assert_eq!(problem.field.as_deref(), Some(field));
    let advice = "streamwatch topology set --rules 2";
    assert!(problem.to_string().contains(advice), "{problem}");
}

/// The kinds of the lifecycle events of `stream`, in order, once there are `count`.
async fn kinds(follower: &Follower, stream: StreamId, count: usize) -> Vec<String> {
    eventually(PATIENCE, "its events arrive", async || {
        let mut events = first_of_each(follower.messages());
        events.retain(|event| event.text("stream") == stream.to_string());
        let kinds: Vec<_> = events.iter().map(|event| event.text("type")).collect();
        (kinds.len() >= count).then_some(kinds.clone()).ok_or(kinds)
    })
    .await
}

/// Starts a stream by a heartbeat, with metadata in two heartbeats, and then opens it.
async fn begun_and_opened(backend: &Backend, name: &str) -> StreamId {
    let stream = StreamId::generate();
    for metadata in [pair("device", "tv"), pair("channel", "1")] {
        add(backend, name, stream, metadata).await;
    }
    let request = OpenRequest {
        stream: Some(stream),
        ..OpenRequest::default()
    };
    let opened = open(backend, name, &request).await;
    assert!(
        matches!(opened, Ok((_, Opening::Opened { .. }))),
        "{opened:?}"
    );
    stream
}

async fn decided(workers: &[Worker]) -> Vec<f64> {
    let mut all = Vec::new();
    for worker in workers {
        all.push(
            worker
                .metric("streamwatch_requests_total", "outcome=\"answered\"")
                .await,
        );
    }
    all
}

#[tokio::test]
async fn rules_2_apply_from_one_entry_on_for_all_workers_and_those_that_start_later() {
    let installation = Installation::bare(Broker::shared().await);
    let declare = ["topology", "declare", "--ttl", TTL_ARGUMENT, "--rules", "1"];
    let declare = [&declare[..], &["--snapshot-every", "1s"]].concat();
    installation.cli(&declare).await.exits(DONE);
    let follower = Follower::start(&installation).await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let backend = installation.backend();
    let races = Races::start(installation.backend());

    one_leads(&workers).await;
    must_need_rules_2(open(&backend, "alice", &one_device()).await, "limits");
    must_need_rules_2(stop_all(&backend, "alice").await, "all");
    let removal = MetadataPatch::merge(Metadata::default(), vec!["device".into()]);
    let removal = Some(removal.expect("a key"));
    let sent = send(&backend, "alice", StreamId::generate(), removal, WAIT).await;
    must_need_rules_2(sent, "metadata");
    assert_eq!(playing(&backend, "alice").await, []);
    let old = begun_and_opened(&backend, "bob").await;
    assert_eq!(
        active(&backend, "bob").await[0].metadata,
        pair("channel", "1")
    );
    assert_eq!(kinds(&follower, old, 2).await, ["opened", "opened"]);

    let set = installation.cli(&["topology", "set", "--rules", "2"]).await;
    set.exits(DONE);

    // Each limit is exact, whichever worker decides.
    let before = decided(&workers).await;
    for n in 0..ROW {
        let name = format!("carol-{n}");
        for device in ["tv", "phone", "tv"] {
            let request = OpenRequest {
                metadata: pair("device", device),
                ..one_device()
            };
            let (_, opening) = open(&backend, &name, &request).await.expect("answered");
            match (opening, device) {
                (Opening::Opened { .. }, "tv") => {}
                (Opening::Refused { refusal, .. }, "phone") => {
                    assert_eq!(refusal.reason, RefusedReason::Limits);
                }
                (opening, _) => panic!("{name}, {device}: {opening:?}"),
            }
        }
    }
    let after = decided(&workers).await;
    let both = before
        .iter()
        .zip(&after)
        .all(|(before, after)| after > before);
    assert!(both, "{before:?} {after:?}");

    let new = begun_and_opened(&backend, "dora").await;
    let merged = Metadata::new(&mut [("device", "tv"), ("channel", "1")]);
    assert_eq!(
        active(&backend, "dora").await[0].metadata,
        merged.expect("pairs")
    );
    assert_eq!(kinds(&follower, new, 2).await, ["opened", "admitted"]);
    // A stream from before the change merges, too.
    add(&backend, "bob", old, pair("device", "tablet")).await;
    let merged = Metadata::new(&mut [("device", "tablet"), ("channel", "1")]);
    assert_eq!(
        active(&backend, "bob").await[0].metadata,
        merged.expect("pairs")
    );

    stop_all(&backend, "carol-0")
        .await
        .expect("it is confirmed");
    assert_eq!(playing(&backend, "carol-0").await, []);

    let back = installation.cli(&["topology", "set", "--rules", "1"]).await;
    back.exits(WRONG_SETTINGS).reports("--rules");
    let finished = races.finish(TTL).await;
    assert!(finished >= 3, "only {finished} races");

    let names: Vec<String> = (0..ROW).map(|n| format!("carol-{n}")).collect();
    let names: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .chain(["bob", "dora"])
        .collect();
    let mut known = Vec::new();
    for name in &names {
        known.push(agreed(&backend, name).await);
    }
    snapshots_are_written(&workers).await;
    for worker in &mut workers {
        assert!(worker.stop().await.success());
    }
    let later = installation.ready_worker().await;
    let restored = later
        .metric("streamwatch_snapshots_total", "outcome=\"restored\"")
        .await;
    assert_eq!(restored, 1.0);
    for (name, known) in names.iter().zip(known) {
        assert_eq!(agreed(&backend, name).await, known, "{name}");
    }
    stop_all(&backend, "dora").await.expect("it is confirmed");
    let cause = eventually(PATIENCE, "the device is notified", async || {
        let sent = send(&backend, "dora", new, None, WAIT).await;
        sent.expect("it is confirmed").ok_or("no reply")
    });
    assert_eq!(cause.await.reason, StoppedReason::Stopped);
}

/// Waits until a worker replies to players.
async fn one_leads(workers: &[Worker]) {
    eventually(PATIENCE, "one worker leads", async || {
        let mut leaders = 0.0;
        for worker in workers {
            leaders += worker.metric("streamwatch_leader", "").await;
        }
        (leaders > 0.0).then_some(()).ok_or("none leads")
    })
    .await;
}

/// Waits until a snapshot was begun and written after this call.
async fn snapshots_are_written(workers: &[Worker]) {
    let written = async || {
        let mut sum = 0.0;
        for worker in workers {
            sum += worker
                .metric("streamwatch_snapshots_total", "outcome=\"written\"")
                .await;
        }
        sum
    };
    // One may be in progress.
    let two_more = written().await + 2.0;
    eventually(PATIENCE, "snapshots are written", async || {
        let so_far = written().await;
        (so_far >= two_more).then_some(()).ok_or(so_far)
    })
    .await;
}
