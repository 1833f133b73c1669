//! The worker: wires replicas to the broker.
//!
//! One task for each partition, with two connections of its own, one to consume and one to
//! publish: a partition whose node goes away does not stop the others. The replica outlives its
//! connections.

mod asked;
mod clock;
mod declare;
mod partition;
mod session;

use std::{net::SocketAddr, sync::Arc, time::Duration};

pub use declare::{Declared, declare};
use tokio::sync::watch;

use crate::{
    broker::{Addresses, BrokerError, Names, topology},
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
    /// Declare the topology first, with these settings where its log has none.
    pub declare: Option<(Settings, topology::Retention)>,
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
    if let Some((first, retention)) = &config.declare {
        tokio::select! {
            () = declare::until_declared(&config.addresses, &config.names, first, *retention) => {}
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
        }
    }
    let partition = partition::Partition::new(0, config, health);
    let task = tokio::spawn(partition.run(shutdown));
    task.await.map_err(|e| WorkerError::Task(e.to_string()))
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
