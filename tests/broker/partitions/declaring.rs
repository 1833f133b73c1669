//! Declaring, changing and deleting a topology of several partitions.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use serde_json::{Value, json};
use streamwatch::client::StreamId;
use streamwatch::domain::{EntryId, Internal, InternalEntry, Settings, WallTime};
use streamwatch::wire;

use crate::fixture::exit::{DONE, FAILED, NO_TOPOLOGY, WRONG_SETTINGS};
use crate::fixture::{Broker, Finished, Installation, PATIENCE, eventually, heartbeat, playing};

async fn declare(installation: &Installation<'_>, partitions: &str) -> Finished {
    let declare = ["topology", "declare", "--partitions", partitions];
    installation.cli(&declare).await
}

async fn show(installation: &Installation<'_>) -> Value {
    let shown = installation.cli(&["--json", "topology", "show"]).await;
    shown.exits(DONE).json()
}

#[tokio::test]
async fn the_number_of_partitions_is_declared_once() {
    let installation = Installation::bare(Broker::shared().await);
    for wrong in ["0", "65", "two"] {
        let refused = declare(&installation, wrong).await;
        refused.exits(WRONG_SETTINGS).reports("--partitions");
    }
    for _ in 0..2 {
        declare(&installation, "3").await.exits(DONE);
    }
    for other in ["1", "2", "4"] {
        let refused = declare(&installation, other).await;
        refused.exits(FAILED).reports("deploy/UPGRADE.md");
    }
    // The default is the existing number.
    installation.cli(&["topology", "declare"]).await.exits(DONE);
    let shown = show(&installation).await;
    assert_eq!(shown["settings"]["partitions"], 3);
    assert_eq!(shown["settings_numbers"], json!([1, 1, 1]));
    for part in [
        "p00.log",
        "p01.init",
        "p02.status",
        "intake.requests",
        "intake.events",
    ] {
        let name = format!("{}streamwatch.{part}", installation.namespace);
        let queues = shown["queues"].as_array().expect("a list");
        assert!(queues.iter().any(|q| q["name"] == name), "{name}");
    }

    let strays = installation.cli(&["worker", "--partitions", "1-3"]).await;
    strays
        .exits(WRONG_SETTINGS)
        .reports("there is no partition 3");
    let confused = installation.cli(&["worker", "--partitions", "1-x"]).await;
    confused.exits(WRONG_SETTINGS).reports("--partitions");

    let delete = ["topology", "delete", "--yes"];
    installation.cli(&delete).await.exits(DONE);
    let nothing = installation.cli(&["topology", "show"]).await;
    nothing.exits(NO_TOPOLOGY);
    declare(&installation, "2").await.exits(DONE);
    installation.cli(&delete).await.exits(DONE);
}

#[tokio::test]
async fn a_worker_declares_the_given_number_of_partitions_and_the_next_uses_them() {
    let installation = Installation::bare(Broker::shared().await);
    let start = |arguments: &[&str]| {
        crate::fixture::Worker::start(installation.broker, &installation.namespace, arguments)
    };
    let mut first = start(&["--declare", "--declare-partitions", "2", "--ttl", "30s"]);
    first.ready().await;
    let mut next = start(&["--declare"]);
    next.ready().await;
    let settings = &show(&installation).await["settings"];
    assert_eq!(
        (&settings["partitions"], &settings["ttl_ms"]),
        (&json!(2), &json!(30_000))
    );
}

#[tokio::test]
async fn new_settings_take_effect_in_all_partitions() {
    let installation = Installation::partitions(Broker::shared().await, "1h", 4).await;
    let _worker = installation.ready_worker().await;
    let set = installation
        .cli(&["--json", "topology", "set", "--ttl", "3s"])
        .await;
    let set = set.exits(DONE).json();
    assert_eq!(set["settings_numbers"], json!([2, 2, 2, 2]));
    let backend = installation.backend();
    // Enough accounts for each partition.
    let names: Vec<_> = (0..40).map(|n| format!("viewer-{n}")).collect();
    for name in &names {
        let confirmed = heartbeat(&backend, name, StreamId::generate()).await;
        confirmed.expect("it is confirmed");
    }
    eventually(PATIENCE, "all go by the new TTL", async || {
        let mut left = Vec::new();
        for name in &names {
            left.extend(playing(&backend, name).await);
        }
        left.is_empty().then_some(()).ok_or(left)
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_change_is_completed_by_the_next_one() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 3).await;
    // The state after a `topology set` that was interrupted before the last partition.
    let wanted = Settings {
        number: 2,
        ttl_ms: 30_000,
        heartbeat_every_ms: 10_000,
        partitions: 3,
        ..Settings::default()
    };
    let body = Internal::Settings {
        settings: wanted,
        wall: WallTime(0),
    };
    let entry_id = EntryId { writer: 1, seq: 1 };
    let entry = wire::encode_internal(&InternalEntry {
        entry_id,
        writer_state: None,
        body,
    });
    let channel = installation.broker.channel().await;
    let log = installation.names().log(2);
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    let published = channel.basic_publish("".into(), log.into(), options, &entry, properties);
    published.await.expect("it is written");

    eventually(
        Duration::from_secs(10),
        "the partitions differ",
        async || {
            let numbers = show(&installation).await["settings_numbers"].clone();
            (numbers == json!([1, 1, 2])).then_some(()).ok_or(numbers)
        },
    )
    .await;
    let shown = installation.cli(&["topology", "show"]).await;
    assert!(shown.stdout.contains("topology set"), "{shown:?}");
    let set = installation
        .cli(&["--json", "topology", "set", "--ttl", "30s"])
        .await;
    let set = set.exits(DONE).json();
    assert_eq!(set["settings_numbers"], json!([3, 3, 3]));
    assert_eq!(set["settings"]["ttl_ms"], 30_000);
}

#[tokio::test]
async fn a_lost_log_is_declared_again_with_the_settings_of_the_others() {
    let installation = Installation::partitions(Broker::shared().await, "33s", 3).await;
    installation.delete_queue(installation.names().log(1)).await;
    let mut worker = installation.worker();
    eventually(
        Duration::from_secs(20),
        "it does not serve",
        async || match worker.get("/readyz").await {
            Ok((503, body)) if body.contains("topology declare") => Ok(()),
            other => Err(other),
        },
    )
    .await;

    declare(&installation, "2").await.exits(FAILED);
    declare(&installation, "3").await.exits(DONE);
    let shown = show(&installation).await;
    assert_eq!(shown["settings"]["ttl_ms"], 33_000);
    let numbers = shown["settings_numbers"].as_array().expect("a list");
    assert!(numbers.iter().all(|n| *n == numbers[0]), "{numbers:?}");
    // The worker had counted the logs before all existed.
    worker.kill().await;
    installation.ready_worker().await;
}

#[tokio::test]
async fn without_the_plugin_a_declaration_reports_the_remedy_and_leaves_nothing() {
    let broker = Broker::start().await;
    let unregister = "rabbit_registry:unregister(exchange, <<\"x-consistent-hash\">>).";
    broker.ctl(&["eval", unregister]).await;
    let installation = Installation::bare(&broker);
    let refused = declare(&installation, "2").await;
    refused
        .exits(FAILED)
        .reports("rabbitmq-plugins enable rabbitmq_consistent_hash_exchange");
    let queues = broker.ctl(&["list_queues", "--silent", "name"]).await;
    assert!(!queues.contains("streamwatch"), "{queues}");
    // A single partition needs no plugin.
    declare(&installation, "1").await.exits(DONE);
}
