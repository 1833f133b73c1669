//! The broker is killed under load and restarted: workers recover by themselves, and confirmed
//! events count.

use std::sync::Arc;
use std::time::Duration;

use streamwatch::client::{Backend, OpenRequest, Opening, StreamId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fixture::exit::DONE;
use crate::fixture::{
    Broker, Crowd, Habits, Installation, Truth, Worker, account, heartbeat, heavy, tenant,
};

/// Long enough that no stream expires: a missing stream was lost.
const TTL: &str = "10m";
const HABITS: Habits = Habits {
    accounts: 25,
    devices: 4,
    session: Duration::from_secs(3),
    crash_every: u32::MAX,
    gone_after: Duration::ZERO,
};

#[tokio::test]
async fn everything_confirmed_counts_after_the_broker_was_killed_under_load() {
    heavy().await;
    let broker = Broker::start().await;
    let installation = Installation::bare(&broker);
    let declare = [
        "topology",
        "declare",
        "--ttl",
        TTL,
        "--heartbeat-every",
        "2s",
    ];
    installation.cli(&declare).await.exits(DONE);
    broker.sync_declarations().await;
    let mut workers = [installation.worker(), installation.worker()];
    for worker in &mut workers {
        worker.ready().await;
    }
    let crowd = Crowd::start(&installation, HABITS).await;
    let writers = Writers::start(&installation, &crowd.truth);

    writers.have_written(300).await;
    broker.kill().await;
    for worker in &workers {
        worker.not_ready().await;
    }
    broker.start_again().await;
    for worker in &mut workers {
        worker.ready().await;
    }
    crowd.compare().await;
    writers.have_written(300).await;
    writers.finish().await;
    crowd.settle().await;
    crowd.compare().await;

    for worker in &mut workers {
        assert!(worker.metric("streamwatch_reconnects_total", "").await >= 1.0);
        assert_eq!(started_over(worker).await, 0.0, "the log was the same");
        assert!(worker.stop().await.success());
    }
    crowd.leave().await;
}

#[tokio::test]
async fn a_worker_started_before_the_broker_and_the_topology_becomes_ready_by_itself() {
    let broker = Broker::start().await;
    let installation = Installation::bare(&broker);
    broker.stop().await;
    let mut worker = installation.worker();
    worker.reports("cannot connect").await;
    broker.start_again().await;
    worker.reports("topology declare").await;
    installation.declare(TTL).await;
    worker.ready().await;
    assert!(worker.stop().await.success());
}

async fn started_over(worker: &Worker) -> f64 {
    worker.metric("streamwatch_started_over_total", "").await
}

/// Backends that publish events of all kinds and record the confirmed ones.
struct Writers {
    written: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Writers {
    fn start(installation: &Installation, truth: &Arc<Truth>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (count, written) = watch::channel(0);
        let mut tasks = JoinSet::new();
        for number in 0..4 {
            let writer = Writer {
                number,
                backend: installation.backend(),
                truth: Arc::clone(truth),
                count: count.clone(),
            };
            tasks.spawn(writer.run(stopped.clone()));
        }
        Self {
            written,
            stop,
            tasks,
        }
    }

    /// Waits for `more` further confirmed events.
    async fn have_written(&self, more: usize) {
        let mut written = self.written.clone();
        let before = *written.borrow();
        let enough = written.wait_for(|now| *now >= before + more);
        let waited = tokio::time::timeout(crate::fixture::PATIENCE, enough).await;
        waited
            .expect("events are confirmed")
            .expect("writers write");
    }

    async fn finish(self) {
        let _ = self.stop.send(true);
        self.tasks.join_all().await;
    }
}

struct Writer {
    number: usize,
    backend: Backend,
    truth: Arc<Truth>,
    count: watch::Sender<usize>,
}

impl Writer {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for n in 0_usize.. {
            tokio::select! {
                _ = pace.tick() => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            let name = format!("writer-{}-{n}", self.number);
            if self.write(&name, n).await {
                self.count.send_modify(|count| *count += 1);
            }
        }
    }

    /// Starts a stream, and stops every second one. Returns whether all events were confirmed;
    /// others may count or not.
    async fn write(&self, name: &str, n: usize) -> bool {
        let stream = StreamId::generate();
        self.truth.opening(name, stream);
        let begun = if n.is_multiple_of(3) {
            let request = OpenRequest {
                stream: Some(stream),
                ..OpenRequest::default()
            };
            let opening = self.backend.open(&tenant(), &account(name), &request).await;
            matches!(opening, Ok((_, Opening::Opened { .. })))
        } else {
            heartbeat(&self.backend, name, stream).await.is_ok()
        };
        if !begun {
            self.truth.unknown(name, stream);
            return false;
        }
        self.truth.counts(name, stream);
        if n.is_multiple_of(2) {
            return true;
        }
        self.truth.ending(name, stream);
        let stopped = self.backend.stop(&tenant(), &account(name), stream).await;
        match stopped {
            Ok(()) => self.truth.gone(name, stream, Instant::now()),
            Err(_) => self.truth.unknown(name, stream),
        }
        stopped.is_ok()
    }
}
