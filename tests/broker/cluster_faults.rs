//! The waiting time of clients while a cluster's nodes are isolated, frozen or restarted one after
//! another.

use std::{collections::BTreeMap, time::Duration};

use streamwatch::client::{Backend, OpenRequest, StreamId};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use crate::fixture::{
    Anonymous, Cluster, Follower, Installation, PATIENCE, Questioner, Worker, account, eventually,
    exit, heavy, playing, playing_if_answered, tenant,
};

/// Time for which a node is frozen.
const FROZEN: Duration = Duration::from_secs(15);
/// Limit for lifecycle events and replies after a fault: the timeout of an `init`.
const SOON: Duration = Duration::from_secs(10);
/// Limit for a request during a rolling restart. A [`Backend`] repeats a lost request after 2 s: the
/// requests in a local queue are lost with its node. Other tests may load the machine.
const RESTARTED: Duration = Duration::from_secs(8);

/// Three workers of a topology whose queues have their leaders on node `leader`.
async fn three_workers(cluster: &Cluster, leader: usize) -> (Installation<'_>, Vec<Worker>) {
    let installation = declared(cluster, leader, &["--ttl", "20s"]).await;
    let mut workers: Vec<_> = (0..3).map(|_| installation.worker()).collect();
    for worker in &mut workers {
        worker.ready().await;
    }
    (installation, workers)
}

/// A topology whose queues have their leaders on node `leader`.
async fn declared<'c>(cluster: &'c Cluster, leader: usize, settings: &[&str]) -> Installation<'c> {
    let installation = Installation::bare(&cluster.all);
    let declare = ["topology", "declare", "--snapshot-every", "2s"];
    let declare = [&declare[..], settings].concat();
    let there = installation.by_way_of(&cluster.nodes[leader]);
    there.cli(&declare).await.exits(exit::DONE);
    cluster.sync_declarations().await;
    installation
}

async fn sum(workers: &[Worker], metric: &str, labels: &str) -> f64 {
    let mut sum = 0.0;
    for worker in workers {
        sum += worker.metric(metric, labels).await;
    }
    sum
}

/// Opens a stream, and repeats the request until a worker replies.
async fn open(backend: &Backend, name: &str) -> StreamId {
    let stream = StreamId::generate();
    let request = OpenRequest {
        stream: Some(stream),
        ..OpenRequest::default()
    };
    eventually(6 * PATIENCE, "the stream is opened", async || {
        backend.open(&tenant(), &account(name), &request).await
    })
    .await;
    stream
}

#[tokio::test]
#[ignore = "a cluster: `tests/run --all`"]
async fn lifecycle_events_and_snapshots_continue_while_any_node_is_isolated() {
    heavy().await;
    let cluster = Cluster::start().await;
    let (installation, workers) = three_workers(&cluster, 0).await;
    let log = installation.names().log(0);
    for away in 0..cluster.nodes.len() {
        let (next, others) = ((away + 1) % cluster.nodes.len(), cluster.without(away));
        let led = cluster.leader(&log, next).await == away;
        let follower = Follower::start(&installation.by_way_of(&cluster.nodes[next])).await;
        let backend = installation.by_way_of(&others).backend();
        open(&backend, &format!("before-{away}")).await;
        cluster.nodes[away].kill().await;
        let killed = Instant::now();
        let written = sum(&workers, "streamwatch_snapshots_total", "written").await;
        let name = format!("after-{away}");
        open(&backend, &name).await;
        let opened = killed.elapsed();
        eventually(PATIENCE, "its beginning is announced", async || {
            let mut heard = follower.messages().into_iter();
            let found = heard.find(|event| event.text("account") == name);
            found.map(drop).ok_or("no lifecycle event")
        })
        .await;
        let announced = killed.elapsed();
        eventually(PATIENCE, "a snapshot is written", async || {
            let now = sum(&workers, "streamwatch_snapshots_total", "written").await;
            (now > written).then_some(()).ok_or(now)
        })
        .await;
        let snapshot = killed.elapsed();
        eprintln!(
            "node {away} killed (leader of the log: {led}): opened after {opened:?}, announced \
             after {announced:?}, snapshot after {snapshot:?}"
        );
        // RabbitMQ itself may take 6 s until the log has a leader.
        assert!(
            announced < opened + SOON / 2,
            "announced after {announced:?}"
        );
        assert!(announced < SOON, "announced after {announced:?}");
        assert!(snapshot < 2 * SOON, "snapshot after {snapshot:?}");
        eventually(PATIENCE, "one worker leads", async || {
            let leaders = sum(&workers, "streamwatch_leader", "").await;
            (leaders == 1.0).then_some(()).ok_or(leaders)
        })
        .await;
        cluster.nodes[away].start_again().await;
        cluster.all_nodes_run().await;
        cluster.can_lose_one().await;
    }
}

/// The index of the leader.
async fn leading(workers: &[Worker]) -> usize {
    eventually(PATIENCE, "one worker leads", async || {
        for (n, worker) in workers.iter().enumerate() {
            if worker.metric("streamwatch_leader", "").await > 0.0 {
                return Ok(n);
            }
        }
        Err("no worker leads")
    })
    .await
}

#[tokio::test]
#[ignore = "a cluster: `tests/run --all`"]
async fn a_leader_that_is_stopped_or_killed_is_succeeded_within_seconds() {
    heavy().await;
    let cluster = Cluster::start().await;
    let (installation, mut workers) = three_workers(&cluster, 0).await;
    let follower = Follower::start(&installation.by_way_of(&cluster.nodes[0])).await;
    let backend = installation.backend();
    for (signal, bound) in [("TERM", Duration::from_secs(2)), ("KILL", SOON)] {
        let leader = leading(&workers).await;
        let mut gone = workers.remove(leader);
        let from = Instant::now();
        if signal == "TERM" {
            assert!(gone.stop().await.success());
        } else {
            gone.kill().await;
        }
        leading(&workers).await;
        let led = from.elapsed();
        open(&backend, signal).await;
        eventually(PATIENCE, "its beginning is announced", async || {
            let mut heard = follower.messages().into_iter();
            let found = heard.find(|event| event.text("account") == signal);
            found.map(drop).ok_or("no lifecycle event")
        })
        .await;
        let announced = from.elapsed();
        eprintln!("SIG{signal}: led again after {led:?}, announced after {announced:?}");
        assert!(
            announced < bound,
            "SIG{signal}: announced after {announced:?}"
        );
        workers.push(installation.ready_worker().await);
    }
}

#[tokio::test]
#[ignore = "a cluster: `tests/run --all`"]
async fn nothing_is_lost_or_outdated_when_the_node_of_all_leaders_is_cut_off_for_a_while() {
    heavy().await;
    let cluster = Cluster::start().await;
    let installation = declared(&cluster, 1, &["--ttl", "2m", "--partitions", "2"]).await;
    let others = cluster.without(1);
    let by_majority = installation.by_way_of(&others);
    let by_minority = installation.by_way_of(&cluster.nodes[1]);
    let mut workers = [
        by_majority.ready_worker().await,
        by_majority.ready_worker().await,
        by_minority.ready_worker().await,
    ];
    let (majority, minority) = (by_majority.backend(), by_minority.backend());
    let anonymous = Anonymous::connect(&installation.by_way_of(&cluster.nodes[0])).await;
    let streams = BTreeMap::from_iter((0..16).map(|n| (format!("s{n}"), StreamId::generate())));
    // Before and after the cut, some of each partition.
    let (earlier, later): (Vec<_>, Vec<_>) = streams.iter().partition(|(name, _)| name.len() == 2);
    for (name, stream) in earlier {
        anonymous.heartbeat(name, *stream).await;
    }
    anonymous.confirmed().await;
    let before = open(&majority, "before").await;
    cluster.cut_off(1).await;
    let cut_off = Instant::now();
    let stopped = async {
        eventually(2 * PATIENCE, "the stop is confirmed", async || {
            majority.stop(&tenant(), &account("before"), before).await
        })
        .await;
        let confirmed = cut_off.elapsed();
        if let Ok(streams) = playing_if_answered(&minority, "before").await {
            assert!(streams.is_empty(), "an outdated reply: {streams:?}");
        }
        confirmed
    };
    let forwarded = async {
        for (name, stream) in later {
            anonymous.heartbeat(name, *stream).await;
        }
        anonymous.confirmed().await;
    };
    let connected = async {
        sleep_until(cut_off + FROZEN).await;
        cluster.connect_again(1).await;
        cluster.all_nodes_run().await;
        cluster.can_lose_one().await;
        cut_off.elapsed()
    };
    let (confirmed, connected, (), of_minority, of_majority) = tokio::join!(
        stopped,
        connected,
        forwarded,
        open(&minority, "minority"),
        open(&majority, "majority"),
    );
    eprintln!("the stop was confirmed after {confirmed:?}, the nodes in sync after {connected:?}");
    for (name, stream) in &streams {
        eventually(2 * PATIENCE, "an event of the intake counts", async || {
            let playing = playing_if_answered(&majority, name).await;
            matches!(&playing, Ok(streams) if streams == &[*stream])
                .then_some(())
                .ok_or(playing)
        })
        .await;
    }
    eprintln!(
        "all events of the intake counted after {:?}",
        cut_off.elapsed()
    );
    assert_eq!(playing(&majority, "minority").await, [of_minority]);
    assert_eq!(playing(&minority, "majority").await, [of_majority]);
    assert_eq!(playing(&minority, "before").await, []);
    for worker in &mut workers {
        worker.ready().await;
        let started_over = worker.metric("streamwatch_started_over_total", "").await;
        assert_eq!(started_over, 0.0);
    }
}

#[tokio::test]
#[ignore = "a cluster: `tests/run --all`"]
async fn requests_are_answered_throughout_a_rolling_restart_of_the_cluster() {
    heavy().await;
    let cluster = Cluster::start().await;
    let (installation, mut workers) = three_workers(&cluster, 1).await;
    let questioner = Questioner::start(installation.backend());
    let mut stopped = Vec::new();
    for node in &cluster.nodes {
        cluster.can_lose_one().await;
        let from = Instant::now();
        node.stop().await;
        let down = from.elapsed();
        node.start_again().await;
        cluster.all_nodes_run().await;
        stopped.push((from, down));
        for worker in &mut workers {
            worker.ready().await;
        }
    }
    let waits = questioner.finish().await;
    for (n, (from, down)) in stopped.iter().enumerate() {
        let until = stopped.get(n + 1).map(|(next, _)| *next);
        let here = waits.iter().filter(|wait| {
            wait.asked + wait.took >= *from && until.is_none_or(|until| wait.asked < until)
        });
        let longest = here.max_by_key(|wait| wait.took).expect("it asks");
        let after = longest.asked.saturating_duration_since(*from);
        eprintln!(
            "node {n}: stopping took {down:?}; longest wait {:?}, asked {after:?} after the stop \
             began",
            longest.took
        );
    }
    let longest = waits.iter().map(|wait| wait.took).max().expect("it asks");
    assert!(longest < RESTARTED, "a question waited {longest:?}");
}

#[tokio::test]
#[ignore = "a cluster: `tests/run --all`"]
async fn inits_are_answered_after_the_node_of_their_queue_s_leader_was_frozen() {
    heavy().await;
    let cluster = Cluster::start().await;
    let (installation, mut workers) = three_workers(&cluster, 1).await;
    let init = installation.names().init(0);
    assert_eq!(cluster.leader(&init, 0).await, 1);
    let others = cluster.without(1);
    let backend = installation.by_way_of(&others).backend();
    cluster.nodes[1].freeze().await;
    let frozen = Instant::now();
    let thawed = frozen + FROZEN;
    let (during, just_after, after, ()) = tokio::join!(
        ask_for(&backend, "during", frozen, FROZEN),
        // The timeout of an `init`.
        ask_for(&backend, "just-after", thawed, SOON),
        ask_for(&backend, "after", thawed + SOON, 2 * SOON),
        async {
            sleep_until(thawed).await;
            cluster.nodes[1].thaw();
        },
    );
    let seen = cluster.consumers(&init, 0).await;
    eprintln!(
        "inits without an answer: {during:?} while frozen, {just_after:?} in the 10 s after, \
         {after:?} in the 20 s after that; (consumers, unacknowledged): {seen:?}"
    );
    assert_eq!(after.unanswered, 0);
    eventually(PATIENCE, "each worker has one consumer", async || {
        let (consumers, unacknowledged) = cluster.consumers(&init, 0).await;
        let right = consumers == workers.len() as u64 && unacknowledged == 0;
        right.then_some(()).ok_or((consumers, unacknowledged))
    })
    .await;
    for worker in &mut workers {
        worker.ready().await;
        assert_eq!(
            worker.metric("streamwatch_started_over_total", "").await,
            0.0
        );
    }
}

#[derive(Debug, Default)]
struct Asked {
    answered: usize,
    unanswered: usize,
}

/// Opens 25 streams a second, each by one request that waits up to 10 s.
async fn ask_for(backend: &Backend, prefix: &str, from: Instant, time: Duration) -> Asked {
    sleep_until(from).await;
    let backend = backend.clone().with_patience(SOON);
    let (end, mut timer) = (from + time, interval(Duration::from_millis(40)));
    let mut requests = JoinSet::new();
    for n in 0.. {
        timer.tick().await;
        if Instant::now() >= end {
            break;
        }
        let (backend, name) = (backend.clone(), format!("{prefix}-{n}"));
        requests.spawn(async move {
            let request = OpenRequest::default();
            let opened = backend.open(&tenant(), &account(&name), &request).await;
            opened.is_ok()
        });
    }
    let mut asked = Asked::default();
    for answered in requests.join_all().await {
        *(if answered {
            &mut asked.answered
        } else {
            &mut asked.unanswered
        }) += 1;
    }
    asked
}
