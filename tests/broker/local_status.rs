//! `status` requests reach a worker through a local queue of its own, and the shared queue if the
//! worker stops, freezes or is lost. RabbitMQ 3 has only the shared queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueBindOptions};
use lapin::types::FieldTable;
use streamwatch::client::{Backend, StatusQuery, StreamId};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval};

use crate::fixture::{
    Broker, Installation, PATIENCE, Worker, account, eventually, heartbeat, heavy, patient,
    playing, tenant,
};

/// Least number of questions of each test, one every 5 ms.
const QUESTIONS: usize = 800;
/// Time for RabbitMQ to delete a queue without a consumer: it does so after 60 s.
const UNUSED: Duration = Duration::from_secs(120);
/// The prefetch of a worker's local queue and of the shared queue together.
const PREFETCH: usize = 256 + 256;

#[tokio::test]
async fn a_local_queue_carries_status_requests_without_the_shared_queue() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    let _worker = local_worker(&installation).await;
    let names = installation.names();
    unbind(&installation, names.status(0), names.shared_status(0)).await;
    assert!(playing(&installation.backend(), "alice").await.is_empty());
}

#[tokio::test]
async fn without_a_local_queue_the_shared_queue_carries_status_requests() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    let _worker = local_worker(&installation).await;
    let queue = bound_queue(&installation).await;
    unbind(&installation, queue, installation.names().status(0)).await;
    assert!(playing(&installation.backend(), "alice").await.is_empty());
}

#[tokio::test]
async fn on_rabbitmq_3_a_worker_consumes_the_shared_queue_alone() {
    if Broker::version().await >= (4, 0) {
        return;
    }
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let worker = installation.ready_worker().await;
    eventually(PATIENCE, "the worker logs it", async || {
        let log = worker.stderr();
        let alone = log.contains("from the shared queue alone");
        alone.then_some(()).ok_or(log)
    })
    .await;
    assert!(!worker.stderr().contains("WARN"), "{}", worker.stderr());
}

#[tokio::test]
async fn a_worker_that_stops_loses_no_status_request() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    heavy().await;
    let (mut stops, _stays) = two_workers(&installation).await;
    let questions = Questions::start(&installation.backend());
    assert!(stops.stop().await.success());
    assert_eq!(questions.unanswered("a worker stops").await, 0);
}

#[tokio::test]
async fn a_worker_that_is_killed_loses_no_status_request() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    heavy().await;
    let mut dies = local_worker(&installation).await;
    let orphan = bound_queue(&installation).await;
    let _stays = local_worker(&installation).await;
    let questions = Questions::start(&installation.backend());
    dies.kill().await;
    is_unbound(&installation, &orphan).await;
    is_deleted(&installation, &orphan).await;
    assert_eq!(questions.unanswered("a worker is killed").await, 0);
}

#[tokio::test]
async fn a_worker_that_starts_unbinds_the_queue_of_one_that_was_killed() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    let mut dies = local_worker(&installation).await;
    let orphan = bound_queue(&installation).await;
    dies.kill().await;
    let _next = local_worker(&installation).await;
    is_unbound(&installation, &orphan).await;
    assert_ne!(bound_queue(&installation).await, orphan);
}

#[tokio::test]
async fn a_worker_that_was_frozen_has_a_local_queue_again() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    heavy().await;
    let mut freezes = local_worker(&installation).await;
    let orphan = bound_queue(&installation).await;
    let _stays = local_worker(&installation).await;
    freezes.pause().await;
    is_unbound(&installation, &orphan).await;
    freezes.resume();
    eventually(PATIENCE, "both workers have a queue", async || {
        let bound = bound_queues(&installation).await;
        (bound.len() == 2).then_some(()).ok_or(bound)
    })
    .await;
    assert!(playing(&installation.backend(), "alice").await.is_empty());
}

#[tokio::test]
async fn a_worker_binds_its_queue_again_after_another_has_unbound_it() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    let _worker = local_worker(&installation).await;
    let queue = bound_queue(&installation).await;
    let from = installation.names().status(0);
    unbind(&installation, queue.clone(), from).await;
    eventually(PATIENCE, "it is bound again", async || {
        let bound = bound_queues(&installation).await;
        (bound == [queue.clone()]).then_some(()).ok_or(bound)
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_freezes_holds_a_bounded_number_of_status_requests() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    heavy().await;
    let (mut freezes, _stays) = two_workers(&installation).await;
    freezes.pause().await;
    let questions = Questions::start(&installation.backend());
    let unanswered = questions.unanswered("a worker freezes").await;
    freezes.resume();
    assert!(unanswered <= PREFETCH, "{unanswered}");
}

#[tokio::test]
async fn a_worker_that_stops_unbinds_its_queue() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    heavy().await;
    let _stays = local_worker(&installation).await;
    let of_other = bound_queue(&installation).await;
    let mut stops = local_worker(&installation).await;
    let mut queues = bound_queues(&installation).await;
    queues.retain(|queue| *queue != of_other);
    assert!(stops.stop().await.success());
    assert_eq!(bound_queue(&installation).await, of_other);
    assert!(exist(&installation, &queues).await, "RabbitMQ deleted it");
}

#[tokio::test]
async fn a_worker_that_reconnects_unbinds_its_former_queue() {
    if Broker::version().await < (4, 0) {
        return;
    }
    heavy().await;
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "10s").await;
    let _worker = local_worker(&installation).await;
    let first = bound_queue(&installation).await;
    broker.ctl(&["close_all_connections", "a test"]).await;
    only_a_new_queue_is_bound(&installation, first).await;
}

#[tokio::test]
async fn a_worker_unbinds_its_former_queue_after_a_restart_of_rabbitmq() {
    if Broker::version().await < (4, 0) {
        return;
    }
    heavy().await;
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "10s").await;
    let _worker = local_worker(&installation).await;
    let first = bound_queue(&installation).await;
    broker.stop().await;
    broker.start_again().await;
    only_a_new_queue_is_bound(&installation, first).await;
}

/// Waits until the worker has unbound its former queue, before RabbitMQ deletes it.
async fn only_a_new_queue_is_bound(installation: &Installation<'_>, former: String) {
    eventually(PATIENCE, "only a new queue is bound", async || {
        let bound = bound_queues(installation).await;
        let is_new = bound.len() == 1 && bound[0] != former;
        is_new.then_some(()).ok_or(bound)
    })
    .await;
    assert!(exist(installation, &[former]).await, "RabbitMQ deleted it");
}

#[tokio::test]
async fn declaring_a_topology_of_rabbitmq_3_on_rabbitmq_4_adds_local_queues() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    let names = installation.names();
    let channel = installation.broker.channel().await;
    let partition = names.partition(0);
    let bound = channel.queue_bind(
        names.status(0).into(),
        partition.as_str().into(),
        "*.status.#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("bound");
    channel
        .exchange_delete(names.status(0).into(), ExchangeDeleteOptions::default())
        .await
        .expect("deleted");
    installation.declare("10s").await;
    let bindings = installation.broker.ctl(&["-q", "list_bindings"]).await;
    let to_shared: Vec<_> = bindings
        .lines()
        .filter(|line| line.starts_with(&format!("{partition}\t")) && line.contains("*.status.#"))
        .collect();
    assert_eq!(to_shared.len(), 1, "{bindings}");
    assert!(
        to_shared[0].contains("exchange\t*.status.#"),
        "{to_shared:?}"
    );
    let _worker = local_worker(&installation).await;
    assert!(playing(&installation.backend(), "alice").await.is_empty());
}

#[tokio::test]
async fn a_status_request_through_a_local_queue_includes_all_confirmed_messages() {
    let Some(installation) = with_local_queues().await else {
        return;
    };
    let _worker = local_worker(&installation).await;
    let backend = installation.backend();
    for n in 1..=50 {
        let stream = StreamId::generate();
        heartbeat(&backend, "alice", stream)
            .await
            .expect("confirmed");
        assert_eq!(playing(&backend, "alice").await.len(), n);
    }
}

/// A topology, if RabbitMQ has exchanges for local queues.
async fn with_local_queues() -> Option<Installation<'static>> {
    if Broker::version().await < (4, 0) {
        return None;
    }
    Some(Installation::declared(Broker::shared().await, "10s").await)
}

/// Starts a worker, and waits until it consumes its local queue.
async fn local_worker(installation: &Installation<'_>) -> Worker {
    let worker = installation.ready_worker().await;
    eventually(PATIENCE, "the worker consumes a local queue", async || {
        let log = worker.stderr();
        let consumes = log.contains("consuming a local queue");
        consumes.then_some(()).ok_or(log)
    })
    .await;
    worker
}

async fn two_workers(installation: &Installation<'_>) -> (Worker, Worker) {
    (
        local_worker(installation).await,
        local_worker(installation).await,
    )
}

async fn unbind(installation: &Installation<'_>, queue: String, from: String) {
    let channel = installation.broker.channel().await;
    let none = FieldTable::default();
    let unbound = channel.queue_unbind(queue.into(), from.into(), "".into(), none);
    unbound.await.expect("unbound");
}

/// Waits until another worker has unbound the queue of a worker that has ended.
async fn is_unbound(installation: &Installation<'_>, queue: &String) {
    eventually(PATIENCE, "another worker unbinds it", async || {
        let bound = bound_queues(installation).await;
        (!bound.contains(queue)).then_some(()).ok_or(bound)
    })
    .await;
    let queues = std::slice::from_ref(queue);
    assert!(exist(installation, queues).await, "RabbitMQ deleted it");
}

/// Waits until RabbitMQ has deleted a queue. A declaration, even a passive one, would postpone that;
/// a binding of the queue does not.
async fn is_deleted(installation: &Installation<'_>, queue: &str) {
    let channel = installation.broker.channel().await;
    eventually(UNUSED, "RabbitMQ deletes it", async || {
        let bound = channel.queue_bind(
            queue.into(),
            "amq.fanout".into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.err().map(drop).ok_or("it exists")
    })
    .await;
}

async fn exist(installation: &Installation<'_>, queues: &[String]) -> bool {
    let list = ["-q", "list_queues", "name"];
    let all = installation.broker.ctl(&list).await;
    let exists = |queue: &String| all.lines().any(|line| line == queue);
    queues.iter().all(exists)
}

/// The only local queue that requests can reach.
async fn bound_queue(installation: &Installation<'_>) -> String {
    let mut bound = bound_queues(installation).await;
    assert_eq!(bound.len(), 1, "{bound:?}");
    bound.remove(0)
}

/// The local queues that requests can reach.
async fn bound_queues(installation: &Installation<'_>) -> Vec<String> {
    let from = installation.names().status(0);
    let list = ["-q", "list_bindings", "source_name", "destination_name"];
    let bindings = installation.broker.ctl(&list).await;
    let bound = bindings
        .lines()
        .filter_map(|line| line.strip_prefix(&from)?.strip_prefix('\t'));
    bound.map(str::to_owned).collect()
}

/// Requests at a constant rate. Each is sent once.
struct Questions {
    task: JoinHandle<Vec<Option<Duration>>>,
    enough: Arc<AtomicBool>,
}

impl Questions {
    fn start(backend: &Backend) -> Self {
        let backend = patient(backend);
        let enough = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&enough);
        let task = tokio::spawn(async move {
            let mut timer = interval(Duration::from_millis(5));
            let mut questions = JoinSet::new();
            while questions.len() < QUESTIONS || !stop.load(Ordering::Relaxed) {
                timer.tick().await;
                let backend = backend.clone();
                questions.spawn(async move {
                    let asked = Instant::now();
                    let query = StatusQuery::default();
                    let answer = backend.status(&tenant(), &account("alice"), &query).await;
                    answer.ok().map(|_| asked.elapsed())
                });
            }
            questions.join_all().await
        });
        Self { task, enough }
    }

    /// Waits for all replies. Returns the number of requests without one.
    async fn unanswered(self, when: &str) -> usize {
        self.enough.store(true, Ordering::Relaxed);
        let waits = self.task.await.expect("the questions end");
        let longest = waits.iter().flatten().max();
        let unanswered = waits.iter().filter(|wait| wait.is_none()).count();
        let asked = waits.len();
        eprintln!("{when}: longest wait {longest:?}, {unanswered} of {asked} unanswered");
        unanswered
    }
}
