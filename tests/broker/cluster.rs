//! The loss of one node of a cluster of three: events confirmed by a majority stay, and the workers
//! continue.

use std::time::Duration;

use crate::fixture::{Cluster, Crowd, Habits, Installation, Races, Worker, heavy};

const TTL: Duration = Duration::from_secs(20);
/// Longest time without a leader of a log. Log time stands still, so streams count longer by it.
const WITHOUT_A_LEADER: Duration = Duration::from_secs(10);
const HABITS: Habits = Habits {
    accounts: 20,
    devices: 3,
    session: Duration::from_secs(6),
    crash_every: 4,
    gone_after: Duration::from_secs(TTL.as_secs() + 4 + WITHOUT_A_LEADER.as_secs()),
};

/// A cluster with a topology, workers and viewers.
struct Site<'c> {
    cluster: &'c Cluster,
    workers: Vec<Worker>,
    crowd: Crowd,
    races: Races,
}

impl<'c> Site<'c> {
    /// The leaders of all queues are on node `leader`; the workers are connected to node 0.
    async fn start(cluster: &'c Cluster, leader: usize) -> Self {
        let installation = Installation::bare(&cluster.all);
        // Queues have their leader where they are declared.
        let there = installation.by_way_of(&cluster.nodes[leader]);
        there.declare(&format!("{}s", TTL.as_secs())).await;
        for queue in [
            installation.names().log(0),
            installation.names().init(0),
            installation.names().status(0),
            installation.names().unrouted(),
        ] {
            assert_eq!(cluster.replicas(&queue).await, 3, "{queue}");
        }
        cluster.sync_declarations().await;
        let log = installation.names().log(0);
        assert_eq!(cluster.leader(&log, 0).await, leader);
        let mut workers: Vec<_> = (0..3).map(|_| installation.worker()).collect();
        for worker in &mut workers {
            worker.ready().await;
        }
        let crowd = Crowd::start(&installation, HABITS).await;
        let races = Races::start(installation.backend());
        Self {
            cluster,
            workers,
            crowd,
            races,
        }
    }

    async fn right(&mut self) {
        for worker in &mut self.workers {
            worker.ready().await;
        }
        self.crowd.compare().await;
    }

    async fn finish(mut self) {
        self.cluster.all_nodes_run().await;
        self.right().await;
        assert!(self.races.finish(TTL).await > 0);
        self.crowd.settle().await;
        self.crowd.compare().await;
        for worker in &mut self.workers {
            let started_over = worker.metric("streamwatch_started_over_total", "").await;
            assert_eq!(started_over, 0.0, "the log was the same");
            assert!(worker.stop().await.success());
        }
        self.crowd.leave().await;
    }
}

#[tokio::test]
#[ignore = "a cluster: `tests/run --all`"]
async fn nothing_is_lost_when_the_node_of_the_log_s_leader_dies() {
    heavy().await;
    let cluster = Cluster::start().await;
    let mut three_workers = Site::start(&cluster, 1).await;
    cluster.nodes[1].kill().await;
    three_workers.right().await;
    cluster.nodes[1].start_again().await;
    three_workers.finish().await;
}

#[tokio::test]
#[ignore = "a cluster: `tests/run --all`"]
async fn nothing_is_lost_when_the_workers_node_dies() {
    heavy().await;
    let cluster = Cluster::start().await;
    let mut three_workers = Site::start(&cluster, 1).await;
    cluster.nodes[0].kill().await;
    for worker in &three_workers.workers {
        worker.reconnects().await;
    }
    three_workers.right().await;
    cluster.nodes[0].start_again().await;
    three_workers.finish().await;
}

#[tokio::test]
#[ignore = "a cluster: `tests/run --all`"]
async fn nothing_is_lost_when_all_nodes_are_restarted_one_after_another() {
    heavy().await;
    let cluster = Cluster::start().await;
    let mut three_workers = Site::start(&cluster, 1).await;
    for node in &cluster.nodes {
        node.stop().await;
        three_workers.right().await;
        node.start_again().await;
        cluster.all_nodes_run().await;
        three_workers.right().await;
    }
    three_workers.finish().await;
}

#[tokio::test]
#[ignore = "a cluster: `tests/run --all`"]
async fn workers_wait_for_a_log_without_a_majority_and_no_stream_expires_meanwhile() {
    heavy().await;
    let cluster = Cluster::start().await;
    let mut three_workers = Site::start(&cluster, 1).await;
    // The workers' node keeps running, but cannot confirm.
    tokio::join!(cluster.nodes[1].kill(), cluster.nodes[2].kill());
    for worker in &three_workers.workers {
        worker.not_ready().await;
    }
    tokio::join!(
        cluster.nodes[1].start_again(),
        cluster.nodes[2].start_again()
    );
    three_workers.right().await;
    three_workers.finish().await;
}
