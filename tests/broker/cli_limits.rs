//! The command line with limits by metadata, and with stops of whole accounts.

use serde_json::{Value, json};

use crate::fixture::exit::{DONE, REFUSED, WRONG_SETTINGS};
use crate::fixture::{Broker, Installation, PATIENCE, eventually};

const LIMITS: [&str; 9] = [
    "--limit",
    "2",
    "--limit",
    "distinct=device,max=2",
    "--limit",
    "where=kind:live,max=1",
    "--same",
    "device",
    "--json",
];

/// An `init` with limits, of a stream with this metadata.
async fn init(
    installation: &Installation<'_>,
    device: &str,
    kind: &str,
    more: &[&str],
) -> (Option<i32>, Value) {
    let (device, kind) = (format!("device={device}"), format!("kind={kind}"));
    let metadata = ["--metadata", &device, "--metadata", &kind];
    let arguments = [&["init", "acme", "alice"], &LIMITS[..], &metadata, more].concat();
    let finished = installation.cli(&arguments).await;
    (finished.status.code(), finished.json())
}

#[tokio::test]
async fn limits_of_an_init_are_decided_as_on_any_other_client() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let (code, tv) = init(&installation, "tv", "live", &[]).await;
    assert_eq!((code, &tv["type"]), (Some(DONE), &json!("opened")));
    let (code, restarted) = init(&installation, "tv", "live", &[]).await;
    assert_eq!(code, Some(DONE));
    assert_eq!(restarted["replaced"], json!([tv["stream"]]));
    let (code, refused) = init(&installation, "phone", "live", &[]).await;
    assert_eq!(
        (code, &refused["reason"]),
        (Some(REFUSED), &json!("limits"))
    );
    let conflict = json!([{ "limit": 2, "streams": [restarted["stream"]] }]);
    assert_eq!(refused["conflicts"], conflict);
    let goes = ["--on-limit", "replace-oldest", "--reason", "moved"];
    let (code, phone) = init(&installation, "phone", "live", &goes).await;
    assert_eq!(code, Some(DONE));
    assert_eq!(phone["replaced"], json!([restarted["stream"]]));

    let stream = restarted["stream"].as_str().expect("an id");
    let reason = eventually(PATIENCE, "the device is notified", async || {
        let heartbeat = ["heartbeat", "acme", "alice", stream, "--json"];
        let heartbeat = installation.cli(&heartbeat).await;
        match heartbeat.status.code() {
            Some(REFUSED) => Ok(heartbeat.json()["given_reason"].clone()),
            _ => Err(heartbeat),
        }
    });
    assert_eq!(reason.await, "moved");
}

#[tokio::test]
async fn a_stop_ends_a_stream_or_all_of_an_account_but_not_neither_or_both() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    for _ in 0..3 {
        let opened = installation.cli(&["init", "acme", "alice"]).await;
        opened.exits(DONE);
    }
    let id = "0192f0c1-0000-7000-8000-000000000001";
    for wrong in [
        &["stop", "acme", "alice"][..],
        &["stop", "acme", "alice", id, "--all"],
    ] {
        let finished = installation.cli(wrong).await;
        finished.exits(WRONG_SETTINGS).reports("--all");
    }
    let stop = [
        "stop",
        "acme",
        "alice",
        "--all",
        "--reason",
        "account closed",
    ];
    installation.cli(&stop).await.exits(DONE);
    let status = ["status", "acme", "alice", "--strong", "--json"];
    let status = installation.cli(&status).await;
    assert_eq!(status.exits(DONE).json()["activity"]["count"], 0);
}

#[tokio::test]
async fn mistakes_in_limits_are_reported_together_before_a_connection() {
    let bare = Installation::bare(Broker::shared().await);
    let finished = bare
        .cli(&[
            "init",
            "acme",
            "alice",
            "--limit",
            "distinct=device",
            "--max-active",
            "2",
            "--on-limit",
            "replace-youngest",
            "--reason",
            "",
        ])
        .await;
    finished.exits(WRONG_SETTINGS);
    for text in [
        "max=N",
        "--limit N beside",
        "--on-limit: refuse or",
        "--reason",
    ] {
        finished.reports(text);
    }
}
