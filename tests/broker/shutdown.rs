//! SIGTERM and SIGINT: a worker replies to delivered requests and exits with 0.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::fixture::{
    Broker, Installation, PATIENCE, Passage, Process, Proxy, Worker, eventually, playing,
};

#[tokio::test]
async fn a_worker_shuts_down_gracefully_on_sigterm_and_sigint() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let stays = installation.ready_worker().await;
    for signal in ["TERM", "INT"] {
        let (broker, namespace) = (installation.broker, &installation.namespace);
        let mut ends = Process::spawn(broker, namespace, &["worker"]);
        eventually(PATIENCE, "it takes requests", async || {
            let log = ends.stderr();
            log.contains("consuming requests").then_some(()).ok_or(log)
        })
        .await;
        let backend = installation.backend().with_patience(PATIENCE);
        // Requests are in flight to both workers during the shutdown; none is lost.
        let questions = (0..500).map(|_| playing(&backend, "alice"));
        let questions = join_all(questions);
        let ended = async {
            ends.signal(signal);
            ends.ended().await
        };
        let (answers, ended) = tokio::join!(questions, ended);
        assert_eq!(ended.code(), Some(0));
        assert!(answers.iter().all(Vec::is_empty));
    }
    drop(stays);
}

#[tokio::test]
async fn a_worker_without_a_broker_ends_at_once_on_a_signal() {
    let environment = [("AMQP_URL", "amqp://guest:guest@127.0.0.1:1")];
    for arguments in [&["worker"][..], &["worker", "--log-format", "json"]] {
        let mut worker = Process::spawn_with(&environment, arguments);
        eventually(PATIENCE, "it cannot connect", async || {
            let log = worker.stderr();
            log.contains("cannot connect").then_some(()).ok_or(log)
        })
        .await;
        worker.signal("TERM");
        assert_eq!(worker.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_shutdown_while_the_broker_hangs_ends_within_its_grace() {
    let proxy = Proxy::start(Broker::shared().await).await;
    let installation = Installation::declared(&proxy.broker, "10s").await;
    let mut worker = Worker::start(&proxy.broker, &installation.namespace, &["--grace", "4s"]);
    worker.ready().await;
    // The broker responds neither to cancelled consumers nor to closed connections.
    proxy.set("streamwatch worker", Passage::Stalled).await;
    let received = Instant::now();
    assert!(worker.stop().await.success());
    let took = received.elapsed();
    // The limit is 4 s; a loaded machine needs more time to end a process.
    assert!(took < Duration::from_secs(8), "{took:?}");
}
