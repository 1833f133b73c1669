//! Faults: their order and execution.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::MutexGuard as Guard;
use tokio::time::{Instant, sleep, sleep_until};

use super::broker::fixture::{Passage, Probe, Worker};
use super::ledger::Ledger;
use super::log_time::{Wall, now};
use super::targets::{PARTITIONS, TTLS, Targets, WORKERS};

/// Interval between the starts of faults.
pub const EVERY: Duration = Duration::from_secs(10);
/// Time within which all workers must be ready again.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Duration of an alarm or a stall that is shorter than all timeouts.
const A_WHILE: Duration = Duration::from_secs(6);
/// The shortest and the longest time for which a node is frozen.
const FROZEN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];
/// Longer than any TTL.
const OUTAGE: Duration = Duration::from_secs(TTLS[1].as_secs() + 2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    KillWorker,
    PauseWorker,
    RollingRestart,
    KillAllWorkers,
    KillNode,
    FreezeNode,
    CutWorker,
    CutViewers,
    StallWorker,
    MemoryAlarm,
    DeleteStatusQueue,
    DeleteInitQueue,
    DeleteSnapshots,
    SetTtl,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::KillWorker,
        Self::PauseWorker,
        Self::RollingRestart,
        Self::KillAllWorkers,
        Self::KillNode,
        Self::FreezeNode,
        Self::CutWorker,
        Self::CutViewers,
        Self::StallWorker,
        Self::MemoryAlarm,
        Self::DeleteStatusQueue,
        Self::DeleteInitQueue,
        Self::DeleteSnapshots,
        Self::SetTtl,
    ];

    const fn text(self) -> &'static str {
        match self {
            Self::KillWorker => "worker: SIGKILL, restart",
            Self::PauseWorker => "worker: SIGSTOP for longer than the TTL",
            Self::RollingRestart => "workers: rolling restart by SIGTERM",
            Self::KillAllWorkers => "all workers: SIGKILL, down longer than the TTL",
            Self::KillNode => "RabbitMQ node: SIGKILL, start",
            Self::FreezeNode => "RabbitMQ node: SIGSTOP for 5 to 15 s, SIGCONT",
            Self::CutWorker => "worker's connection: cut in mid-frame",
            Self::CutViewers => "viewers' connection: cut in mid-frame",
            Self::StallWorker => "worker's connection: stalled half-open",
            Self::MemoryAlarm => "memory alarm: raised, cleared",
            Self::DeleteStatusQueue => "status queue: deleted, declared",
            Self::DeleteInitQueue => "init queue: deleted, declared",
            Self::DeleteSnapshots => "snapshot log: deleted, declared",
            Self::SetTtl => "topology set --ttl",
        }
    }

    /// True if it stops the workers gracefully, one by one, without effect on clients.
    pub const fn is_graceful(self) -> bool {
        matches!(self, Self::RollingRestart)
    }

    const fn takes_worker(self, place: usize, of: usize) -> bool {
        match self {
            Self::KillWorker | Self::PauseWorker | Self::CutWorker | Self::StallWorker => {
                place == of
            }
            Self::RollingRestart | Self::KillAllWorkers => true,
            _ => false,
        }
    }

    const fn takes_broker(self) -> bool {
        !matches!(
            self,
            Self::KillWorker | Self::PauseWorker | Self::RollingRestart | Self::KillAllWorkers
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A fault, with its random choices.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub kind: Kind,
    worker: usize,
    partition: u16,
    node: usize,
    /// The disturbed connection: that which consumes, else that which publishes.
    consume: bool,
    stall: Passage,
    frozen: Duration,
}

/// The faults of a run, in rounds of all kinds in random order. The first fault is a frozen node, so
/// that short runs include it.
pub fn plan(seed: u64, count: usize, nodes: usize) -> Vec<Fault> {
    let mut random = Rng::with_seed(seed);
    let mut faults = Vec::new();
    while faults.len() < count {
        let mut round = Kind::ALL;
        random.shuffle(&mut round);
        if faults.is_empty() {
            let first = round.iter().position(|kind| *kind == Kind::FreezeNode);
            round.swap(0, first.expect("it is one of all"));
        }
        for kind in round {
            let stalls = [Passage::Stalled, Passage::Deaf, Passage::Mute];
            faults.push(Fault {
                kind,
                worker: random.usize(..WORKERS),
                partition: random.u16(..PARTITIONS),
                node: random.usize(..nodes),
                consume: random.bool(),
                stall: stalls[random.usize(..stalls.len())],
                frozen: FROZEN[0] + (FROZEN[1] - FROZEN[0]).mul_f64(random.f64()),
            });
        }
    }
    faults.truncate(count);
    faults
}

/// The result of a fault.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub kind: Kind,
    pub from: Wall,
    pub until: Wall,
    /// Time from the end of the disturbance until all workers were ready.
    pub ready_after: Option<Duration>,
}

/// The resources of a fault.
struct Taken<'s> {
    workers: Vec<(usize, Guard<'s, Worker>)>,
    _broker: Option<Guard<'s, ()>>,
}

async fn take<'s>(targets: &'s Targets<'_>, fault: Fault) -> Taken<'s> {
    // Always in the same order, so that no two faults block each other.
    let mut workers = Vec::new();
    for (n, place) in targets.places.iter().enumerate() {
        if fault.kind.takes_worker(n, fault.worker) {
            workers.push((n, place.worker.lock().await));
        }
    }
    let broker = match fault.kind.takes_broker() {
        true => Some(targets.broker.lock().await),
        false => None,
    };
    Taken {
        workers,
        _broker: broker,
    }
}

/// Executes one fault after another, each at its time or as soon as its resources are undisturbed,
/// until the time is up. Calls `done` after each.
pub async fn make(
    targets: &Targets<'_>,
    ledger: &Ledger,
    faults: &[Fault],
    time: Duration,
    mut done: impl FnMut(Done),
) {
    let began = Instant::now();
    let mut under_way = FuturesUnordered::new();
    let mut left = faults.iter().zip(0..);
    let mut next = left.next();
    loop {
        let taking = async move {
            let Some((fault, n)) = next else {
                return std::future::pending().await;
            };
            sleep_until(began + EVERY * n).await;
            (*fault, take(targets, *fault).await)
        };
        tokio::pin!(taking);
        loop {
            let over = next.is_none() || began.elapsed() >= time;
            if over && under_way.is_empty() {
                return;
            }
            tokio::select! {
                (fault, taken) = &mut taking, if !over => {
                    under_way.push(one(targets, ledger, fault, taken));
                    break;
                }
                Some(over) = under_way.next() => done(over),
            }
        }
        next = left.next();
    }
}

async fn one(targets: &Targets<'_>, ledger: &Ledger, fault: Fault, mut taken: Taken<'_>) -> Done {
    let from = now();
    for (n, _) in &taken.workers {
        targets.places[*n].disturbed(true);
    }
    disturb(targets, ledger, fault, &mut taken.workers).await;
    for (n, _) in &taken.workers {
        targets.places[*n].disturbed(false);
    }
    let over = Instant::now();
    let mut ready = targets.is_ready().await;
    while !ready && over.elapsed() < READY_WITHIN {
        sleep(Duration::from_millis(100)).await;
        ready = targets.is_ready().await;
    }
    Done {
        kind: fault.kind,
        from,
        until: now(),
        ready_after: ready.then(|| over.elapsed()),
    }
}

async fn disturb(
    targets: &Targets<'_>,
    ledger: &Ledger,
    fault: Fault,
    workers: &mut [(usize, Guard<'_, Worker>)],
) {
    let names = targets.installation.names();
    let what = if fault.consume { "consume" } else { "publish" };
    let connection = format!("partition {:02}, {what}", fault.partition);
    match fault.kind {
        Kind::KillWorker => {
            for (n, worker) in workers {
                worker.kill().await;
                targets.restart(*n, worker);
            }
        }
        Kind::PauseWorker => {
            for (_, worker) in workers {
                worker.pause().await;
                sleep(OUTAGE).await;
                worker.resume();
            }
        }
        Kind::RollingRestart => {
            for (n, worker) in workers {
                let ended = worker.stop().await;
                assert!(ended.success(), "a worker stopped by a signal: {ended}");
                targets.restart(*n, worker);
                until_ready(targets.places[*n].probe()).await;
            }
        }
        Kind::KillAllWorkers => {
            for (_, worker) in workers.iter_mut() {
                worker.kill().await;
            }
            sleep(OUTAGE).await;
            for (n, worker) in workers {
                targets.restart(*n, worker);
            }
        }
        Kind::KillNode => {
            let node = &targets.nodes.nodes[fault.node];
            node.kill().await;
            node.start_again().await;
        }
        Kind::FreezeNode => {
            let node = &targets.nodes.nodes[fault.node];
            ledger.freezes();
            node.freeze().await;
            sleep(fault.frozen).await;
            node.thaw();
            ledger.thawed();
        }
        Kind::CutWorker => {
            let proxies = &targets.places[fault.worker].proxies;
            proxies.set(&connection, Passage::Cut).await;
        }
        Kind::CutViewers => targets.viewers.set("client", Passage::Cut).await,
        Kind::StallWorker => {
            let proxies = &targets.places[fault.worker].proxies;
            proxies.set(&connection, fault.stall).await;
            sleep(A_WHILE).await;
            proxies.set(&connection, Passage::Open).await;
        }
        Kind::MemoryAlarm => {
            let node = &targets.nodes.nodes[fault.node];
            // Like RabbitMQ's memory monitor, which does not run in every environment.
            let alarm = "{resource_limit, memory, node()}";
            let raise = format!("rabbit_alarm:set_alarm({{{alarm}, []}}).");
            node.ctl(&["eval", &raise]).await;
            sleep(A_WHILE).await;
            let clear = format!("rabbit_alarm:clear_alarm({alarm}).");
            node.ctl(&["eval", &clear]).await;
        }
        Kind::DeleteStatusQueue => delete(targets, names.status(fault.partition)).await,
        Kind::DeleteInitQueue => delete(targets, names.init(fault.partition)).await,
        Kind::DeleteSnapshots => delete(targets, names.snapshots(fault.partition)).await,
        Kind::SetTtl => targets.change_ttl().await,
    }
}

/// Waits until a worker is ready, for a limited time. The caller checks readiness later.
async fn until_ready(probe: Probe) {
    let over = Instant::now();
    while !probe.is_ready().await && over.elapsed() < READY_WITHIN {
        sleep(Duration::from_millis(100)).await;
    }
}

async fn delete(targets: &Targets<'_>, queue: String) {
    targets.installation.delete_queue(queue).await;
    targets.declare_again().await;
}
