//! Targets of faults: RabbitMQ, workers, and the connections between them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use streamwatch::broker::Addresses;
use tokio::sync::{Mutex as Held, MutexGuard as Guard};

use super::broker::fixture::{
    Broker, Installation, PATIENCE, Passage, Probe, Process, Proxy, Worker, eventually,
};
use super::skipped::Skipped;

pub const WORKERS: usize = 3;
pub const PARTITIONS: u16 = 4;
/// The TTLs that are set in turn, at least 20 s: below that, a repeated request may be decided twice.
pub const TTLS: [Duration; 2] = [Duration::from_secs(24), Duration::from_secs(30)];

/// One or three nodes of RabbitMQ.
pub struct Nodes<'b> {
    pub nodes: &'b [Broker],
    /// The addresses of all nodes, for clients.
    pub all: &'b Broker,
}

/// Proxies in front of all nodes, which faults disturb.
pub struct Proxies {
    proxies: Vec<Proxy>,
    pub broker: Broker,
}

impl Proxies {
    pub async fn open(nodes: &[Broker]) -> Self {
        let mut proxies = Vec::new();
        for node in nodes {
            proxies.push(Proxy::start(node).await);
        }
        let urls: Vec<_> = proxies.iter().map(|proxy| proxy.broker.url()).collect();
        let broker = Broker::outside(urls.join(","));
        Self { proxies, broker }
    }

    /// Disturbs or restores the connections called `name`. Waits until there is one.
    pub async fn set(&self, name: &str, passage: Passage) {
        let each = self
            .proxies
            .iter()
            .map(|proxy| Box::pin(proxy.set(name, passage)));
        // They are all connected to one node.
        futures_util::future::select_all(each).await;
    }
}

/// One of the workers, which is replaced after it was killed.
pub struct Place {
    /// Locked by the fault that disturbs it.
    pub worker: Held<Worker>,
    pub proxies: Proxies,
    probe: Mutex<Probe>,
    disturbed: AtomicBool,
}

impl Place {
    pub fn probe(&self) -> Probe {
        *self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets whether it is disturbed, and so need not be ready.
    pub fn disturbed(&self, disturbed: bool) {
        self.disturbed.store(disturbed, Relaxed);
    }
}

pub struct Targets<'b> {
    pub nodes: Nodes<'b>,
    /// Locked by a fault that disturbs RabbitMQ, or needs it undisturbed.
    pub broker: Held<()>,
    /// Connected without proxies.
    pub installation: Installation<'b>,
    pub places: Vec<Place>,
    /// The proxies of some of the viewers.
    pub viewers: Proxies,
    /// Log entries skipped by workers that have ended.
    skipped: Skipped,
    ttl: Mutex<Duration>,
}

impl<'b> Targets<'b> {
    /// Declares the topology and starts the workers; returns when they are ready.
    pub async fn start(nodes: Nodes<'b>) -> Self {
        let installation = Installation::bare(nodes.all);
        declare(&installation).await;
        for node in nodes.nodes {
            node.sync_declarations().await;
        }
        let mut places = Vec::new();
        for _ in 0..WORKERS {
            let proxies = Proxies::open(nodes.nodes).await;
            let worker = Worker::start(&proxies.broker, &installation.namespace, &[]);
            places.push(Place {
                probe: Mutex::new(worker.probe()),
                worker: Held::new(worker),
                proxies,
                disturbed: AtomicBool::new(false),
            });
        }
        let targets = Self {
            viewers: Proxies::open(nodes.nodes).await,
            nodes,
            broker: Held::default(),
            installation,
            places,
            skipped: Skipped::default(),
            ttl: Mutex::new(TTLS[0]),
        };
        eventually(2 * PATIENCE, "all workers are ready", async || {
            targets.is_ready().await.then_some(()).ok_or(())
        })
        .await;
        targets
    }

    pub fn addresses(&self) -> Addresses {
        let url = self.installation.broker.url();
        url.parse().expect("the nodes' addresses")
    }

    /// Starts a worker in place of one that has ended.
    pub fn restart(&self, place: usize, gone: &mut Guard<'_, Worker>) {
        let place = &self.places[place];
        let namespace = &self.installation.namespace;
        self.skipped.add(&gone.stderr());
        **gone = Worker::start(&place.proxies.broker, namespace, &[]);
        let mut probe = place.probe.lock().unwrap_or_else(PoisonError::into_inner);
        *probe = gone.probe();
    }

    /// The log entries that any worker has skipped.
    pub async fn skipped(&self) -> &Skipped {
        for place in &self.places {
            self.skipped.add(&place.worker.lock().await.stderr());
        }
        &self.skipped
    }

    /// True if all undisturbed workers are ready.
    pub async fn is_ready(&self) -> bool {
        for place in &self.places {
            if !place.disturbed.load(Relaxed) && !place.probe().is_ready().await {
                return false;
            }
        }
        true
    }

    /// Declares deleted queues again.
    pub async fn declare_again(&self) {
        declare(&self.installation).await;
        for node in self.nodes.nodes {
            node.sync_declarations().await;
        }
    }

    /// Sets the other TTL.
    pub async fn change_ttl(&self) {
        let before = *self.ttl.lock().unwrap_or_else(PoisonError::into_inner);
        let other = TTLS.into_iter().find(|ttl| *ttl != before);
        let other = other.expect("two TTLs");
        let text = format!("{}s", other.as_secs());
        let set = ["topology", "set", "--ttl", &text];
        eventually(4 * PATIENCE, "the TTL is set", async || {
            operate(&self.installation, &set).await.map_or(Ok(()), Err)
        })
        .await;
        *self.ttl.lock().unwrap_or_else(PoisonError::into_inner) = other;
    }
}

async fn declare(installation: &Installation<'_>) {
    let partitions = PARTITIONS.to_string();
    let declare = ["topology", "declare", "--partitions", &partitions];
    // Effective the first time only: settings in force stay.
    let ttl = format!("{}s", TTLS[0].as_secs());
    let settings = ["--ttl", &ttl, "--snapshot-every", "20s"];
    // It may fail just after RabbitMQ's start.
    eventually(4 * PATIENCE, "the topology is declared", async || {
        match operate(installation, &[&declare[..], &settings].concat()).await {
            // Another TTL may be in force by now.
            Some(output) if !output.contains("keep their settings") => Err(output),
            _ => Ok(()),
        }
    })
    .await;
}

/// Runs a command of `streamwatch`, for as long as it takes on a busy machine. Returns its output
/// if it fails.
async fn operate(installation: &Installation<'_>, arguments: &[&str]) -> Option<String> {
    let (broker, namespace) = (installation.broker, &installation.namespace);
    let mut command = Process::spawn(broker, namespace, arguments);
    let what = format!("streamwatch {arguments:?} ends");
    let ended = eventually(4 * PATIENCE, &what, async || {
        command.has_ended().ok_or("it is still running")
    });
    let ended = ended.await;
    (!ended.success()).then(|| command.stderr())
}
