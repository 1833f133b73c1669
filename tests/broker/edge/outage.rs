//! An edge without workers, and without RabbitMQ.

use super::{id, stream_of, streams_of};
use crate::fixture::{Broker, Edge, Installation, PATIENCE, eventually, playing};

#[tokio::test]
async fn without_a_worker_heartbeats_are_stored_and_questions_are_retried_later() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let mut worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &["--patience", "500ms"]).await;
    let opened = edge.post(&streams_of("alice"), "").await.is(201);
    worker.kill().await;
    for path in [streams_of("bob"), "/api/v1/accounts/alice".to_owned()] {
        let sent = if path.ends_with("streams") {
            edge.post(&path, "").await
        } else {
            edge.get(&path).await
        };
        let away = sent.fails_with(503, "unavailable");
        assert!(away.header("retry-after").is_some(), "{away:?}");
    }
    // Stored by RabbitMQ, also of a stream that this edge has not seen.
    let at = stream_of("alice", id(&opened.json));
    edge.post(&format!("{at}/heartbeat"), "").await.is(204);
    let unseen = streamwatch::client::StreamId::generate();
    edge.post(&format!("{}/heartbeat", stream_of("carol", unseen)), "")
        .await
        .is(204);
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    assert_eq!(playing(&backend, "alice").await, [id(&opened.json)]);
    assert_eq!(playing(&backend, "carol").await, [unseen]);
    edge.post(&streams_of("bob"), "").await.is(201);
}

#[tokio::test]
async fn without_rabbitmq_requests_get_503_until_it_is_back() {
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "60s").await;
    let edge = Edge::open_to_all(&installation, &["--patience", "300ms"]).await;
    broker.sync_declarations().await;
    broker.kill().await;
    let unseen = stream_of("alice", streamwatch::client::StreamId::generate());
    for path in [
        streams_of("alice"),
        format!("{unseen}/heartbeat"),
        format!("{unseen}/stop"),
    ] {
        let away = edge.post(&path, "").await.fails_with(503, "unavailable");
        assert!(away.header("retry-after").is_some(), "{away:?}");
    }
    assert_eq!(edge.readiness().await, Some(503));
    eventually(PATIENCE, "the loss is logged", async || {
        let log = edge.process.stderr();
        log.contains("there is no connection to RabbitMQ")
            .then_some(())
            .ok_or(log)
    })
    .await;
    broker.start_again().await;
    let _worker = installation.ready_worker().await;
    eventually(PATIENCE, "the edge works again", async || {
        let response = edge.post(&streams_of("alice"), "").await;
        (response.status == 201)
            .then_some(())
            .ok_or(response.status)
    })
    .await;
    assert_eq!(edge.readiness().await, Some(200));
}
