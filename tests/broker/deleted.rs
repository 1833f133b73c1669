//! A queue is deleted while workers use it: they log the remedy, and serve once it exists again.

use streamwatch::client::{OpenRequest, Opening, StreamId};

use crate::fixture::{Broker, Installation, account, heartbeat, playing, tenant};

const TTL: &str = "10m";

#[tokio::test]
async fn deleting_a_queue_of_requests_loses_no_stream() {
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let backend = installation.backend();
    let mut streams = Vec::new();
    let names = installation.names();
    for queue in [names.init(0), names.status(0), names.unrouted()] {
        let stream = StreamId::generate();
        heartbeat(&backend, "alice", stream)
            .await
            .expect("confirmed");
        streams.push(stream);
        installation.delete_queue(queue).await;
        for worker in &workers {
            worker.reports("streamwatch topology declare").await;
        }
        installation.declare(TTL).await;
        for worker in &mut workers {
            worker.ready().await;
        }
        let request = OpenRequest {
            stream: Some(StreamId::generate()),
            ..OpenRequest::default()
        };
        let opening = backend.open(&tenant(), &account("alice"), &request).await;
        let (opened, opening) = opening.expect("it is answered");
        assert!(matches!(opening, Opening::Opened { .. }), "{opening:?}");
        streams.push(opened);
        let mut counted = playing(&backend, "alice").await;
        counted.sort_unstable();
        streams.sort_unstable();
        assert_eq!(counted, streams);
    }
    for worker in &mut workers {
        let started_over = worker.metric("streamwatch_started_over_total", "").await;
        assert_eq!(started_over, 0.0, "the log was the same");
        assert!(worker.stop().await.success());
    }
}

#[tokio::test]
async fn workers_report_a_deleted_log_and_start_over_with_the_next_one() {
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let backend = installation.backend();
    let (old, new) = (StreamId::generate(), StreamId::generate());
    heartbeat(&backend, "alice", old).await.expect("confirmed");
    installation.delete_queue(installation.names().log(0)).await;
    for worker in &workers {
        worker.reports("streamwatch topology declare").await;
    }
    installation.declare(TTL).await;
    for worker in &mut workers {
        worker.ready().await;
    }
    assert_eq!(playing(&backend, "alice").await, []);
    heartbeat(&backend, "alice", new).await.expect("confirmed");
    assert_eq!(playing(&backend, "alice").await, [new]);
    for worker in &mut workers {
        assert!(worker.stop().await.success());
    }
}
