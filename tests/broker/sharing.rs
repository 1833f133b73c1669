//! Two workers: they share the requests, and one of them is the leader.

use futures_util::future::join_all;

use crate::fixture::{Broker, Installation, PATIENCE, Worker, eventually, playing};

async fn answered(worker: &Worker) -> f64 {
    worker
        .metric("streamwatch_requests_total", "outcome=\"answered\"")
        .await
}

async fn leads(worker: &Worker) -> bool {
    worker.metric("streamwatch_leader", "").await > 0.0
}

#[tokio::test]
async fn two_workers_share_the_requests() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let backend = installation.backend();
    let before = answered(&workers[0]).await + answered(&workers[1]).await;
    let answers = join_all((0..200).map(|_| playing(&backend, "alice"))).await;
    assert!(answers.iter().all(Vec::is_empty));
    let (one, other) = (answered(&workers[0]).await, answered(&workers[1]).await);
    assert!(one >= 20.0 && other >= 20.0, "{one} and {other}");
    assert!(
        (one + other - before - 200.0).abs() < 0.5,
        "{one} and {other}"
    );
}

#[tokio::test]
async fn exactly_one_worker_is_the_leader_and_is_succeeded() {
    let installation = Installation::declared(Broker::shared().await, "2s").await;
    let mut workers: Vec<_> = (0..3).map(|_| installation.worker()).collect();
    for worker in &mut workers {
        worker.ready().await;
    }
    while workers.len() > 1 {
        let leader = eventually(PATIENCE, "one worker leads", async || {
            let mut leaders = Vec::new();
            for (n, worker) in workers.iter().enumerate() {
                if leads(worker).await {
                    leaders.push(n);
                }
            }
            assert!(leaders.len() < 2, "two lead");
            leaders.first().copied().ok_or("no worker leads")
        })
        .await;
        // Once after a crash, once after a shutdown.
        let mut leader = workers.remove(leader);
        if workers.len() == 2 {
            leader.kill().await;
        } else {
            assert!(leader.stop().await.success());
        }
    }
    eventually(PATIENCE, "the last worker leads", async || {
        leads(&workers[0])
            .await
            .then_some(())
            .ok_or("no worker leads")
    })
    .await;
}
