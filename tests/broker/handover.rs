//! The waiting time of clients while workers are restarted or killed one after another, under load.

use tokio::time::Instant;

use crate::fixture::{Broker, Installation, Load, heavy};

#[tokio::test]
async fn a_rolling_restart_of_three_workers_loses_no_request() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let mut workers: Vec<_> = (0..3).map(|_| installation.worker()).collect();
    for worker in &mut workers {
        worker.ready().await;
    }
    let load = Load::start(&installation, 8);
    for worker in &mut workers {
        assert!(worker.stop().await.success());
        *worker = installation.ready_worker().await;
    }
    let waits = load.finish().await;
    let (answered, [p50, p99, max]) = (waits.right.len(), waits.percentiles());
    eprintln!("rolling restart: {answered} answered, waited p50 {p50:?}, p99 {p99:?}, max {max:?}");
    assert_eq!(waits.failed, Vec::<String>::new());
    for worker in &mut workers {
        assert!(worker.stop().await.success());
    }
}

#[tokio::test]
async fn after_a_worker_was_killed_the_others_continue_to_reply() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let (mut dies, _stays) = (
        installation.ready_worker().await,
        installation.ready_worker().await,
    );
    let load = Load::start(&installation, 4);
    let mut kills = Vec::new();
    for _ in 0..4 {
        dies.kill().await;
        kills.push(Instant::now());
        dies = installation.ready_worker().await;
    }
    let waits = load.finish().await;
    let (answered, [p50, p99, max]) = (waits.right.len(), waits.percentiles());
    let gaps: Vec<_> = kills
        .into_iter()
        .filter_map(|kill| {
            let (next, _) = waits.right.iter().find(|(at, _)| *at > kill)?;
            Some(next.duration_since(kill))
        })
        .collect();
    eprintln!(
        "right answers came {gaps:?} after a SIGKILL; {answered} answered, waited p50 {p50:?}, \
         p99 {p99:?}, max {max:?}"
    );
    assert_eq!(gaps.len(), 4);
    assert_eq!(waits.failed, Vec::<String>::new());
}
