//! The worker: connects replicas to the broker.
//!
//! Each partition has a thread and its own connections: to consume the log, to publish, and for each
//! request queue. A lost node or an undeliverable request therefore affects one partition only. The
//! replica outlives its connections. All partitions share the connections for replies. If the
//! topology has several partitions, another task serves the intake.

mod clock;
mod declare;
mod grace;
mod intake;
mod metrics_reporter;
mod partition;
pub(crate) mod pending;
mod rejections;
mod replies;
mod retry;
mod selection;
pub(crate) mod session;
mod snapshots;

use std::{net::SocketAddr, sync::Arc, time::Duration};

pub use declare::{Declaration, Declared, declare};
pub use grace::Grace;
use metrics_reporter::MetricsReporter;
use partition::{Partition, PartitionTask};
use selection::Selection;
pub use selection::{PartitionList, PartitionListError};
use tokio::{runtime::Handle, sync::watch, task::JoinSet};
use uuid::Uuid;

use crate::{
    broker::{Addresses, Names, ReplySender},
    domain::WallTime,
    ops::{Endpoints, Figures, Health, HttpError, HttpServer, PartitionMetrics},
    replica::Replica,
    wire::Code,
};

/// Interval at which a partition's thread reports progress.
const PULSE_EVERY: Duration = Duration::from_secs(1);

/// Time limit for closing the reply connections at shutdown.
const LAST_REPLIES_WITHIN: Duration = Duration::from_secs(1);

/// The configuration of a worker.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses of RabbitMQ.
    pub addresses: Addresses,
    /// The names of exchanges and queues.
    pub names: Names,
    /// The topology to declare first, if any.
    pub declare: Option<Declaration>,
    /// The partitions to follow; all if `None`.
    pub partitions: Option<PartitionList>,
    /// The address that serves `/healthz`, `/readyz` and `/metrics`; none if `None`.
    pub http: Option<SocketAddr>,
    /// Time limit of a shutdown.
    pub grace: Grace,
}

/// An error that ends a worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The HTTP endpoints could not be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The list of partitions contains a number that the topology does not have.
    #[error(
        "there is no partition {partition}: the topology has {of}, numbered from 0 to {}; change \
         --partitions (STREAMWATCH_PARTITIONS), or leave it out to follow all",
        of - 1
    )]
    NoSuchPartition {
        /// The highest number of the list.
        partition: u16,
        /// Number of partitions, at least 1.
        of: u16,
    },
    /// A task panicked, which is a bug.
    #[error("the task of a partition ended unexpectedly: {0}")]
    Task(String),
}

/// Runs a worker until `shutdown` is true. It survives losses of the broker.
///
/// # Errors
/// If the HTTP endpoints cannot be served, or the list of partitions contains an unknown one.
pub async fn run(config: Config, mut shutdown: watch::Receiver<bool>) -> Result<(), WorkerError> {
    let health = Arc::new(Health::default());
    let figures = Arc::new(Figures::default());
    if let Some(address) = config.http {
        let server = HttpServer::bind(address).await?;
        if let Some(address) = server.address() {
            tracing::info!(%address, "serving /healthz, /readyz and /metrics");
        }
        tokio::spawn(server.serve(Endpoints {
            health: Arc::clone(&health),
            figures: Arc::clone(&figures),
            reasons: Code::ALL.map(Code::as_str).into(),
            clock: clock::ms,
        }));
    }
    let selection = tokio::select! {
        selection = prepare(&config, &health) => selection?,
        _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
    };
    let intake = selection.of > 1;
    health.follows(&selection.numbers, intake);
    tracing::info!(partitions = ?selection.numbers, of = selection.of, "following");
    let (replies, sender) = ReplySender::new(&config.addresses, &config.names);
    let sending = tokio::spawn(replies::run(sender));
    let mut tasks = JoinSet::new();
    for (n, number) in selection.numbers.into_iter().enumerate() {
        let partition = Partition {
            number,
            of: selection.of,
            takes_unrouted: n == 0,
            config: config.clone(),
            replica: Replica::new(Uuid::new_v4().as_u64_pair().0),
            metrics: PartitionMetrics::new(number),
            reporter: MetricsReporter::new(number, Arc::clone(&figures)),
            health: Arc::clone(&health),
        };
        let task = PartitionTask::new(partition, replies.clone());
        let health = Arc::clone(&health);
        let (runtime, shutdown) = (Handle::current(), shutdown.clone());
        // A thread wakes up sooner than one task of many, and delays no other task.
        tasks.spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = Box::pin(task.run(shutdown)) => {}
                    () = pulse(&health, number) => {}
                }
            });
        });
    }
    if intake {
        let replies = replies.clone();
        tasks.spawn(intake::run(config, selection.of, replies, health, shutdown));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|e| WorkerError::Task(e.to_string()))?;
    }
    drop(replies);
    // The partitions have flushed their replies.
    match tokio::time::timeout(LAST_REPLIES_WITHIN, sending).await {
        Ok(ended) => ended.map_err(|e| WorkerError::Task(e.to_string())),
        Err(_) => Ok(()),
    }
}

/// Reports every second that its thread makes progress. Never returns.
async fn pulse(health: &Health, partition: u16) {
    loop {
        health.pulse(partition, clock::ms());
        tokio::time::sleep(PULSE_EVERY).await;
    }
}

/// Declares the topology if requested, and waits until it exists.
async fn prepare(config: &Config, health: &Health) -> Result<Selection, WorkerError> {
    if let Some(declaration) = &config.declare {
        declare::until_declared(&config.addresses, &config.names, declaration, health).await;
    }
    Selection::find(config, health).await
}

/// Reads the wall clock.
#[must_use]
pub fn wall() -> WallTime {
    clock::wall()
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
const fn as_f64(n: u64) -> f64 {
    n as f64
}
