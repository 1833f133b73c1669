//! `streamwatch check`: its findings and remedies.

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::fixture::exit::{DONE, FAILED, NO_TOPOLOGY, UNREACHABLE};
use crate::fixture::{Broker, Finished, Installation, PATIENCE, cli_with, eventually};

/// The findings by subject.
fn outcomes(finished: &Finished) -> Vec<(String, String)> {
    let lines = finished.stdout.lines();
    let findings = lines.map(|line| serde_json::from_str::<Value>(line).expect("an object a line"));
    let text = |finding: &Value, name: &str| finding[name].as_str().expect("a text").to_owned();
    findings
        .map(|finding| (text(&finding, "check"), text(&finding, "outcome")))
        .collect()
}

fn outcome(finished: &Finished, check: &str) -> String {
    let all = outcomes(finished);
    let found = all.iter().find(|(what, _)| what == check);
    found
        .unwrap_or_else(|| panic!("{check} in {all:?}"))
        .1
        .clone()
}

#[tokio::test]
async fn a_sound_installation_has_only_ok_findings() {
    let installation = Installation::partitions(Broker::shared().await, "20s", 2).await;
    let (mut one, mut another) = (installation.worker(), installation.worker());
    one.ready().await;
    another.ready().await;
    eventually(PATIENCE, "both partitions are led", async || {
        let led = one.metric("streamwatch_leader", "").await
            + another.metric("streamwatch_leader", "").await;
        (led > 1.5).then_some(()).ok_or(led)
    })
    .await;
    let finished = installation.cli(&["--json", "check"]).await;
    finished.exits(DONE);
    let all = outcomes(&finished);
    assert!(
        all.iter().all(|(_, outcome)| outcome == "ok"),
        "{finished:?}"
    );
    let looked_at: Vec<_> = all.iter().map(|(what, _)| what.as_str()).collect();
    let wanted = [
        "broker",
        "access",
        "topology",
        "log p00",
        "leader p00",
        "log p01",
        "leader p01",
        "settings",
        "clocks",
        "consumers",
        "answers",
    ];
    assert_eq!(looked_at, wanted);
    let text = installation.cli(&["check"]).await;
    text.exits(DONE)
        .has_output("ok       topology     2 partition(s), nothing missing");
}

#[tokio::test]
async fn a_single_worker_is_a_warning_not_a_failure() {
    let installation = Installation::declared(Broker::shared().await, "20s").await;
    let worker = installation.ready_worker().await;
    eventually(PATIENCE, "the partition is led", async || {
        let leads = worker.metric("streamwatch_leader", "").await;
        (leads > 0.5).then_some(()).ok_or(leads)
    })
    .await;
    let finished = installation.cli(&["--json", "check"]).await;
    finished.exits(DONE);
    assert_eq!(outcome(&finished, "log p00"), "warning");
    assert_eq!(outcome(&finished, "answers"), "ok");
}

#[tokio::test]
async fn check_reports_that_no_worker_runs() {
    let installation = Installation::declared(Broker::shared().await, "20s").await;
    let finished = installation
        .cli(&["--json", "check", "--watch", "1s"])
        .await;
    finished.exits(FAILED);
    assert_eq!(outcome(&finished, "log p00"), "wrong");
    assert_eq!(outcome(&finished, "leader p00"), "wrong");
    assert_eq!(outcome(&finished, "answers"), "wrong");
    assert_eq!(outcome(&finished, "topology"), "ok");
}

#[tokio::test]
async fn missing_components_are_reported_with_the_remedy() {
    let bare = Installation::bare(Broker::shared().await);
    let finished = bare.cli(&["check"]).await;
    finished
        .exits(NO_TOPOLOGY)
        .has_output("streamwatch topology declare");
    let installation = Installation::declared(bare.broker, "20s").await;
    let unrouted = installation.names().unrouted();
    installation.delete_queue(unrouted.clone()).await;
    let finished = installation.cli(&["check", "--watch", "100ms"]).await;
    finished
        .exits(FAILED)
        .has_output(&format!("missing: {unrouted}"))
        .has_output("-> run `streamwatch topology declare` again");
}

#[tokio::test]
async fn a_missing_broker_and_another_service_are_distinguished() {
    // No process listens on port 1; a process other than a broker listens on this one.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let hello = b"HTTP/1.1 400 Bad Request\r\n\r\n";
                let _ = stream.write_all(hello).await;
                let _ = stream.shutdown().await;
                // Reads until the peer closes, as unread input would reset the connection and the
                // response might be lost.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            });
        }
    });
    for (url, output) in [
        (
            "amqp://u:s3cret@127.0.0.1:1/%2f".to_owned(),
            "Connection refused",
        ),
        (
            format!("amqp://u:s3cret@127.0.0.1:{port}/%2f"),
            "does not support AMQP 0.9.1",
        ),
    ] {
        let finished = cli_with(&[("AMQP_URL", &url)], &["check"]).await;
        finished.exits(UNREACHABLE).has_output(output);
        assert!(!finished.stdout.contains("s3cret"), "{finished:?}");
    }
    serving.abort();
}

#[tokio::test]
async fn a_wrong_password_is_reported_after_a_reachable_broker() {
    let broker = Broker::shared().await;
    let port = broker.url().rsplit(':').next().unwrap().to_owned();
    let url = format!("amqp://nobody:s3cret@127.0.0.1:{port}");
    let finished = cli_with(&[("AMQP_URL", &url)], &["--json", "check"]).await;
    finished.exits(UNREACHABLE);
    assert_eq!(outcome(&finished, "broker"), "ok");
    assert_eq!(outcome(&finished, "access"), "wrong");
}

#[tokio::test]
async fn a_consumer_of_requests_that_is_not_a_worker_is_wrong() {
    let installation = Installation::declared(Broker::shared().await, "2s").await;
    let worker = installation.ready_worker().await;
    eventually(PATIENCE, "the partition is led", async || {
        let leads = worker.metric("streamwatch_leader", "").await;
        (leads > 0.5).then_some(()).ok_or(leads)
    })
    .await;
    let channel = installation.broker.channel().await;
    let queue = installation.names().init(0);
    let consumer = channel.basic_consume(
        queue.as_str().into(),
        "nobody".into(),
        lapin::options::BasicConsumeOptions::default(),
        lapin::types::FieldTable::default(),
    );
    let _consumer = consumer.await.expect("the queue is there");
    let finished = installation.cli(&["--json", "check"]).await;
    finished.exits(FAILED);
    assert_eq!(outcome(&finished, "consumers"), "wrong");
    assert_eq!(outcome(&finished, "leader p00"), "ok");
}
