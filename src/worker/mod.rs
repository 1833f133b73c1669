//! The worker: wires replicas to the broker.
//!
//! One task for each partition, with two connections of its own, one to consume and one to
//! publish: a partition whose node goes away does not stop the others. The replica outlives its
//! connections.

mod asked;
mod clock;
mod partition;
mod session;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    broker::{Addresses, BrokerError, Link, Names, settings, topology},
    domain::{Settings, WallTime},
    ops::{Health, HttpError, HttpServer},
};

/// What a worker needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where RabbitMQ is.
    pub addresses: Addresses,
    /// What everything is called there.
    pub names: Names,
    /// Where to serve `/healthz`, `/readyz` and `/metrics`, if anywhere.
    pub http: Option<SocketAddr>,
    /// How long a shutdown may take.
    pub grace: Duration,
}

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The HTTP endpoints could not be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A partition's task is gone: a bug.
    #[error("the task of a partition ended unexpectedly: {0}")]
    Task(String),
}

/// Runs a worker until `shutdown` says true. Losing the broker does not end it.
///
/// # Errors
/// Where the HTTP endpoints cannot be served.
pub async fn run(config: Config, mut shutdown: watch::Receiver<bool>) -> Result<(), WorkerError> {
    let health = Arc::new(Health::new(1));
    if let Some(address) = config.http {
        let server = HttpServer::bind(address).await?;
        if let Some(address) = server.address() {
            tracing::info!(%address, "serving /healthz, /readyz and /metrics");
        }
        tokio::spawn(server.serve(Arc::clone(&health), || clock::now().mono.0 / 1_000));
    }
    let partition = partition::Partition::new(0, config, health);
    let task = tokio::spawn(partition.run(shutdown.clone()));
    task.await.map_err(|e| WorkerError::Task(e.to_string()))?;
    shutdown.mark_unchanged();
    Ok(())
}

/// What became of a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// The log had no settings: these are in force now.
    New,
    /// The log has settings already: these, which were left as they are.
    Kept(Settings),
}

/// Declares the topology, and its first settings where the log has none.
///
/// # Errors
/// Where the broker refuses, or somebody else declares other settings at the same moment.
pub async fn declare(
    addresses: &Addresses,
    names: &Names,
    first: &Settings,
    retention: topology::Retention,
) -> Result<Declared, settings::SettingsConflict> {
    let link = Link::open_any(addresses, "streamwatch declare").await?;
    topology::declare(&link, names, retention).await?;
    link.close().await;
    if let Some(kept) = settings::read(addresses, names, 0).await? {
        return Ok(Declared::Kept(kept));
    }
    match settings::append(addresses, names, 0, first, clock::wall()).await {
        Ok(()) => Ok(Declared::New),
        Err(settings::SettingsConflict::Overtaken) => {
            match settings::read(addresses, names, 0).await? {
                Some(kept) => Ok(Declared::Kept(kept)),
                None => Err(settings::SettingsConflict::Overtaken),
            }
        }
        Err(error) => Err(error),
    }
}

/// Reads the wall clock.
#[must_use]
pub fn wall() -> WallTime {
    clock::wall()
}

/// A broker error that waiting does not mend by itself.
fn needs_operator(error: &BrokerError) -> bool {
    matches!(
        error,
        BrokerError::AccessRefused(_) | BrokerError::NotFound(_) | BrokerError::Precondition(_)
    )
}
