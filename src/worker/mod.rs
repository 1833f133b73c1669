//! The worker: connects replicas to the broker.
//!
//! Each partition has a thread and its own connections: to consume the log, to publish, and for each
//! request queue. A lost node or an undeliverable request therefore affects one partition only. The
//! replica outlives its connections. All partitions share the connections for replies. If the
//! topology has several partitions, another task serves the intake.

mod clock;
mod config;
mod declare;
mod error;
mod grace;
mod intake;
mod metrics_reporter;
mod partition;
mod partition_list;
mod partition_task;
pub(crate) mod pending;
mod rejections;
mod replies;
mod retry;
mod selection;
pub(crate) mod session;
mod snapshots;
pub(crate) mod throttle;

use std::{sync::Arc, time::Duration};

pub use clock::wall;
pub use config::Config;
pub use declare::{Declaration, Declared, declare};
pub use error::WorkerError;
pub use grace::Grace;
use metrics_reporter::MetricsReporter;
use partition::Partition;
pub use partition_list::{PartitionList, PartitionListError};
use partition_task::PartitionTask;
use selection::Selection;
use throttle::{PartitionThrottle, SharedThrottle};

use tokio::{runtime::Handle, sync::watch, task::JoinSet};
use uuid::Uuid;

use crate::{
    broker::ReplySender,
    ops::{Endpoints, Figures, Health, HttpServer, PartitionMetrics},
    replica::Replica,
    wire::Code,
};

/// Interval at which a partition's thread reports progress.
const PULSE_EVERY: Duration = Duration::from_secs(1);

/// Time limit for closing the reply connections at shutdown.
const LAST_REPLIES_WITHIN: Duration = Duration::from_secs(1);

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
    let intake = selection.partitions > 1;
    health.follows(&selection.numbers, intake);
    tracing::info!(partitions = ?selection.numbers, of = selection.partitions, "serving partitions");
    let (replies, sender) = ReplySender::new(&config.addresses, &config.names);
    let sending = tokio::spawn(replies::run(sender));
    let throttle = SharedThrottle::new(selection.partitions);
    let mut tasks = JoinSet::new();
    for (n, number) in selection.numbers.into_iter().enumerate() {
        let partition = Partition {
            number,
            partitions: selection.partitions,
            takes_unrouted: n == 0,
            config: config.clone(),
            replica: Replica::new(Uuid::new_v4().as_u64_pair().0),
            metrics: PartitionMetrics::new(number),
            reporter: MetricsReporter::new(number, Arc::clone(&figures)),
            throttle: PartitionThrottle::new(throttle.clone(), number),
            health: Arc::clone(&health),
        };
        let task = PartitionTask::new(partition, replies.clone());
        let health = Arc::clone(&health);
        let (runtime, shutdown) = (Handle::current(), shutdown.clone());
        // Each partition has a thread: it wakes up sooner than one of many tasks on a shared
        // thread, and does not delay other partitions.
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
        let outside = (replies.clone(), throttle);
        tasks.spawn(intake::run(
            config,
            selection.partitions,
            outside,
            health,
            shutdown,
        ));
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
