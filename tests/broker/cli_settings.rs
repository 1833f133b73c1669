//! Settings on the command line: they are validated together, declared once, and changed while
//! workers run.

use serde_json::json;
use streamwatch::client::StreamId;

use crate::fixture::exit::{DONE, FAILED, NO_TOPOLOGY, WRONG_SETTINGS};
use crate::fixture::{Broker, Installation, PATIENCE, eventually, heartbeat, playing};

#[tokio::test]
async fn all_mistakes_are_reported_together_before_anything_starts() {
    let bare = Installation::bare(Broker::shared().await);
    let cases = [
        (
            &[
                "worker", "--http", "nowhere", "--grace", "10", "--ttl", "1h1",
            ][..],
            &["3 settings are wrong", "--http", "--grace", "--ttl"][..],
        ),
        (
            &[
                "topology",
                "declare",
                "--ttl",
                "10ms",
                "--max-streams-per-account",
                "0",
            ],
            &["ttl must be", "max-streams-per-account must be"],
        ),
        (
            &[
                "init",
                "a b",
                "",
                "--stream",
                "1",
                "--max-active",
                "0",
                "--timeout",
                "2",
            ],
            &["TENANT", "ACCOUNT", "--stream", "--max-active", "--timeout"],
        ),
        (
            &[
                "heartbeat",
                "acme",
                "alice",
                "no-uuid",
                "--wait",
                "x",
                "--metadata",
                "tv",
            ],
            &["STREAM", "--wait", "--metadata"],
        ),
        (
            &[
                "play",
                "--accounts",
                "0",
                "--crash-rate",
                "2",
                "--duration",
                "5",
            ],
            &["--accounts", "--crash-rate", "--duration"],
        ),
        (
            &[
                "--namespace",
                "a b",
                "status",
                "acme",
                "alice",
                "--stream",
                "7",
            ],
            &["--namespace", "--stream"],
        ),
    ];
    for (command, mistakes) in cases {
        let finished = bare.cli(command).await;
        finished.exits(WRONG_SETTINGS);
        assert_eq!(finished.stdout, "", "{finished:?}");
        for mistake in mistakes {
            finished.reports(mistake);
        }
    }
    bare.cli(&["topology", "delete"])
        .await
        .exits(WRONG_SETTINGS);
    bare.cli(&["topology", "show"]).await.exits(NO_TOPOLOGY);
}

#[tokio::test]
async fn a_topology_is_declared_once_changed_under_running_workers_and_deleted() {
    let installation = Installation::bare(Broker::shared().await);
    let settings = async || {
        let shown = installation.cli(&["--json", "topology", "show"]).await;
        shown.exits(DONE).json()["settings"].clone()
    };
    for _ in 0..2 {
        let declared = installation
            .cli(&["topology", "declare", "--ttl", "60s"])
            .await;
        declared.exits(DONE);
        assert!(
            declared.stdout.contains("ttl                         1m"),
            "{declared:?}"
        );
    }
    let first = settings().await;
    assert_eq!(
        (&first["number"], &first["ttl_ms"]),
        (&json!(1), &json!(60_000))
    );
    let other = installation
        .cli(&["topology", "declare", "--ttl", "5s"])
        .await;
    other.exits(FAILED).reports("streamwatch topology set");
    assert_eq!(settings().await, first);

    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    let (keeps, goes) = (StreamId::generate(), StreamId::generate());
    heartbeat(&backend, "alice", keeps)
        .await
        .expect("it is confirmed");
    let set = installation
        .cli(&["--json", "topology", "set", "--ttl", "3s"])
        .await;
    assert_eq!(set.exits(DONE).json()["settings"]["number"], 2);
    assert_eq!(settings().await["ttl_ms"], 3_000);
    // A new stream counts for the new TTL. A running one keeps the longer TTL: its player does not
    // use the new interval.
    for stream in [keeps, goes] {
        heartbeat(&backend, "alice", stream)
            .await
            .expect("it is confirmed");
    }
    assert_eq!(playing(&backend, "alice").await.len(), 2);
    eventually(PATIENCE, "it goes by the new TTL", async || {
        let playing = playing(&backend, "alice").await;
        (playing == [keeps]).then_some(()).ok_or(playing)
    })
    .await;
    let same = installation
        .cli(&["--json", "topology", "set", "--ttl", "3s"])
        .await;
    assert_eq!(
        same.exits(DONE).json()["settings"]["number"],
        2,
        "nothing changed"
    );
    for wrong in [["--ttl", "25h"], ["--heartbeat-every", "3s"]] {
        let mut set = vec!["topology", "set"];
        set.extend(wrong);
        installation.cli(&set).await.exits(WRONG_SETTINGS);
    }
    for right in [["--ttl", "10m"], ["--heartbeat-every", "100s"]] {
        let mut set = vec!["topology", "set"];
        set.extend(right);
        installation.cli(&set).await.exits(DONE);
    }

    let deleted = installation
        .cli(&["--json", "topology", "delete", "--yes"])
        .await;
    assert_eq!(deleted.exits(DONE).json(), json!({ "deleted": true }));
    installation
        .cli(&["topology", "show"])
        .await
        .exits(NO_TOPOLOGY);
}
