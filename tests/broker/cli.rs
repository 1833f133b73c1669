//! The command line: what its commands print and how they end.

use futures_util::future::join_all;
use serde_json::json;
use streamwatch::client::StreamId;

use crate::fixture::exit::{DONE, NO_ANSWER, NO_TOPOLOGY, REFUSED};
use crate::fixture::{Broker, Installation, PATIENCE, eventually};

#[tokio::test]
async fn without_a_topology_every_command_reports_it_and_exits_with_4() {
    let bare = Installation::bare(Broker::shared().await);
    let stream = StreamId::generate().to_string();
    for command in [
        &["topology", "show"][..],
        &["topology", "set", "--ttl", "5s"],
        &["init", "acme", "alice"],
        &["heartbeat", "acme", "alice", &stream],
        &["stop", "acme", "alice", &stream],
        &["status", "acme", "alice"],
        &["play", "--duration", "1s"],
    ] {
        let finished = bare.cli(command).await;
        finished
            .exits(NO_TOPOLOGY)
            .reports("streamwatch topology declare");
        assert_eq!(finished.stdout, "", "{finished:?}");
    }
    bare.cli(&["topology", "delete", "--yes"]).await.exits(DONE);
}

#[tokio::test]
async fn without_a_worker_requests_exit_with_5_and_events_are_confirmed() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let stream = StreamId::generate().to_string();
    let commands = [
        &["init", "acme", "alice"][..],
        &["status", "acme", "alice"],
        &["status", "acme", "alice", "--strong", "--timeout", "3s"],
    ];
    for finished in join_all(commands.map(|c| installation.cli(c))).await {
        finished.exits(NO_ANSWER).reports("check that one runs");
        assert_eq!(finished.stdout, "", "{finished:?}");
    }
    let heartbeat = ["heartbeat", "acme", "alice", &stream, "--wait", "10ms"];
    installation.cli(&heartbeat).await.exits(DONE);
    installation
        .cli(&["stop", "acme", "alice", &stream])
        .await
        .exits(DONE);
}

#[tokio::test]
async fn each_command_in_a_stream_s_life_has_an_exit_code_and_an_object() {
    let installation = Installation::declared(Broker::shared().await, "20s").await;
    let _worker = installation.ready_worker().await;
    let run = async |arguments: &[&str]| {
        let mut all = vec!["--json"];
        all.extend(arguments);
        installation.cli(&all).await
    };
    let stream = StreamId::generate().to_string();
    let init = [
        "init",
        "acme",
        "alice",
        "--stream",
        &stream,
        "--metadata",
        "device=tv",
    ];
    let opened = run(&init).await;
    let object = opened.exits(DONE).json();
    assert_eq!(object["type"], "opened");
    assert_eq!(object["stream"], stream.as_str());
    assert_eq!(object["ttl_ms"], 20_000);
    assert_eq!(object["activity"]["count"], 1);

    let refused = run(&["init", "acme", "alice", "--max-active", "1"]).await;
    let object = refused.exits(REFUSED).json();
    assert_eq!(
        (&object["type"], &object["reason"]),
        (&json!("refused"), &json!("max_active"))
    );
    assert_eq!(object["max_active"], 1);

    let heartbeat = run(&["heartbeat", "acme", "alice", &stream]).await;
    assert_eq!(
        heartbeat.exits(DONE).json(),
        json!({ "sent": true, "stopped": null })
    );

    let status = [
        "status",
        "acme",
        "alice",
        "--stream",
        &stream,
        "--group-by",
        "device",
    ];
    let object = run(&status).await.exits(DONE).json();
    assert_eq!(
        (&object["type"], &object["state"]),
        (&json!("activity"), &json!("active"))
    );
    let activity = &object["activity"];
    assert_eq!(
        activity["streams"][0]["metadata"],
        json!({ "device": "tv" })
    );
    assert_eq!(activity["by"], json!({ "device": { "tv": 1 } }));
    let table = installation.cli(&status).await;
    table.exits(DONE);
    for text in [
        "acme/alice: 1 active stream at",
        &stream,
        "device=tv",
        "by device: tv 1",
    ] {
        assert!(table.stdout.contains(text), "{text:?} is not in {table:?}");
    }

    let stop = run(&["stop", "acme", "alice", &stream]).await;
    assert_eq!(stop.exits(DONE).json(), json!({ "sent": true }));
    let status = ["status", "acme", "alice", "--strong", "--stream", &stream];
    let object = run(&status).await.exits(REFUSED).json();
    assert_eq!(
        (&object["state"], &object["activity"]["count"]),
        (&json!("stopped"), &json!(0))
    );
    // A worker becomes the leader within some seconds, and announces.
    eventually(PATIENCE, "a heartbeat gets the stop", async || {
        let heartbeat = run(&["heartbeat", "acme", "alice", &stream]).await;
        match heartbeat.status.code() {
            Some(REFUSED) => {
                assert_eq!(
                    heartbeat.json(),
                    json!({ "sent": true, "stopped": "stopped" })
                );
                Ok(())
            }
            _ => Err(heartbeat),
        }
    })
    .await;
    let again = run(&["init", "acme", "alice", "--stream", &stream]).await;
    assert_eq!(again.exits(REFUSED).json()["reason"], "stopped");
    let nobody = run(&["status", "acme", "nobody"]).await;
    assert_eq!(nobody.exits(DONE).json()["activity"]["streams"], json!([]));
}

#[tokio::test]
async fn play_reports_that_the_counts_are_exact() {
    let installation = Installation::declared(Broker::shared().await, "2s").await;
    let _workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let play = [
        "--json",
        "play",
        "--duration",
        "5s",
        "--accounts",
        "20",
        "--session",
        "2s",
        "--crash-rate",
        "0.3",
        "--max-active",
        "2",
        "--streams-per-account",
        "3",
    ];
    let played = installation.cli(&play).await;
    let report = played.exits(DONE).json();
    assert_eq!(report["exact"], true, "{report}");
    assert_eq!(report["accounts_compared"], 20);
    for counted in ["opened", "refused", "stopped", "crashed", "correct"] {
        assert!(report[counted].as_u64() > Some(0), "{counted}: {report}");
    }
}
