//! Settings: changed under load for all workers at one entry, and unsupported rules.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use streamwatch::client::{ClientError, OpenRequest, Opening, StreamId};

use crate::fixture::exit::DONE;
use crate::fixture::{
    Broker, Installation, PATIENCE, Worker, account, eventually, heartbeat, playing,
    playing_if_answered, tenant,
};

/// Appends settings as a later version's tool would.
async fn append_settings(installation: &Installation<'_>, number: u64, rules: u32) {
    let shown = installation.cli(&["topology", "show", "--json"]).await;
    let mut settings = shown.json()["settings"].clone();
    settings["number"] = number.into();
    settings["rules"] = rules.into();
    settings["of_a_later_version"] = true.into();
    let entry = serde_json::json!({
        "writer": 1, "seq": number,
        "entry": { "settings": { "settings": settings, "wall_ms": 0 } },
    });
    let entry = entry.to_string();
    let channel = installation.broker.confirming_channel().await;
    let published = channel.basic_publish(
        "".into(),
        installation.names().log(0).into(),
        BasicPublishOptions::default(),
        entry.as_bytes(),
        BasicProperties::default().with_delivery_mode(2),
    );
    let confirmed = published.await.expect("it is written").await;
    assert!(confirmed.expect("it is confirmed").is_ack());
}

async fn answered(worker: &Worker) -> f64 {
    worker
        .metric("streamwatch_requests_total", "outcome=\"answered\"")
        .await
}

#[tokio::test]
async fn workers_report_unsupported_rules_of_a_log_and_do_not_reply() {
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let backend = installation.backend();
    let stream = StreamId::generate();
    heartbeat(&backend, "alice", stream)
        .await
        .expect("confirmed");
    assert_eq!(playing(&backend, "alice").await, [stream]);

    append_settings(&installation, 2, 3).await;
    for worker in &workers {
        worker.reports("rules version 3").await;
    }
    let before = answered(&workers[0]).await + answered(&workers[1]).await;
    let answer = playing_if_answered(&backend, "alice").await;
    assert!(
        matches!(answer, Err(ClientError::NoAnswer(_))),
        "{answer:?}"
    );
    // Entries under those rules stay unsupported, regardless of later settings.
    append_settings(&installation, 3, 2).await;
    let started = installation.worker();
    started.reports("rules version 3").await;
    let answer = playing_if_answered(&backend, "alice").await;
    assert!(
        matches!(answer, Err(ClientError::NoAnswer(_))),
        "{answer:?}"
    );
    let after = answered(&workers[0]).await + answered(&workers[1]).await;
    assert_eq!(before, after);
    for worker in &mut workers {
        worker.reports("rules version 3").await;
        assert!(worker.stop().await.success());
    }
}

#[tokio::test]
async fn a_ttl_changed_under_load_applies_to_all_workers_at_the_same_entry() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let backend = installation.backend();
    let open = async |name: &str| {
        let request = OpenRequest::default();
        let opening = backend.open(&tenant(), &account(name), &request).await;
        let (_, opening) = opening.expect("it is answered");
        let Opening::Opened { ttl, .. } = opening else {
            panic!("{opening:?}");
        };
        ttl
    };
    // An `init` before the change gets the old TTL, a later one the new TTL. In between, a request
    // after another's reply never gets an older TTL.
    let (old, new) = (Duration::from_secs(60), Duration::from_secs(20));
    assert_eq!(open("before").await, old);
    let set = async {
        let set = installation.cli(&["topology", "set", "--ttl", "20s"]).await;
        set.exits(DONE);
    };
    let opens = async {
        let mut received = BTreeSet::new();
        for round in 0.. {
            let names: Vec<_> = (0..8).map(|n| format!("viewer-{round}-{n}")).collect();
            let ttls = join_all(names.iter().map(|name| open(name))).await;
            let ttls: BTreeSet<_> = ttls.into_iter().collect();
            let back = received.contains(&new) && ttls.contains(&old);
            assert!(!back, "a worker still has the old TTL");
            received = ttls;
            if received == BTreeSet::from([new]) {
                return;
            }
        }
    };
    tokio::join!(set, tokio::time::timeout(PATIENCE, opens))
        .1
        .expect("the new TTL is returned");
    let shared = join_all((0..40).map(|n| open_in(&open, n))).await;
    assert!(shared.iter().all(|ttl| *ttl == new));
    eventually(PATIENCE, "both workers answered", async || {
        let (one, other) = (answered(&workers[0]).await, answered(&workers[1]).await);
        (one > 0.0 && other > 0.0).then_some(()).ok_or((one, other))
    })
    .await;
}

async fn open_in(open: &impl AsyncFn(&str) -> Duration, n: u32) -> Duration {
    open(&format!("after-{n}")).await
}
