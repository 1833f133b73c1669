//! The server: it accepts connections, serves them within bounds, and shuts down in order.

mod activity;
mod connection;
mod guard;
mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, http::HeaderValue};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, interval, timeout_at},
};

pub use guard::CorsOrigins;
pub use tls::{Certificate, CertificateError};

use super::{Access, Edge, Limits, Players, Rates, Readiness, api, metrics};
use crate::{
    client::{Addresses, Client, Names},
    ops::{HttpError, HttpServer},
};
use connection::Connections;
use guard::Guard;

/// Interval of the work in the background.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// Time of a shutdown before the deadline of the process.
const DEADLINE_MARGIN: Duration = Duration::from_millis(500);

/// The settings of an edge.
pub struct Config {
    /// The addresses of RabbitMQ.
    pub addresses: Addresses,
    /// The names of exchanges and queues.
    pub names: Names,
    /// The address to listen on.
    pub http: SocketAddr,
    /// The address of the endpoints for operators.
    pub admin: Option<SocketAddr>,
    /// Identifies callers.
    pub access: Access,
    /// The certificate; plain HTTP without one.
    pub certificate: Option<Certificate>,
    /// Limits of requests per second.
    pub rates: Rates,
    /// Bounds of connections and requests.
    pub bounds: Bounds,
    /// The origins of web pages that may call.
    pub origins: CorsOrigins,
    /// Time limit of a shutdown.
    pub grace: Duration,
}

/// Bounds of connections and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most connections. Further ones wait to be accepted.
    pub connections: usize,
    /// Most requests in progress. Further ones are refused.
    pub requests: usize,
    /// Longest time for the headers of a request, and for a TLS handshake.
    pub headers_within: Duration,
    /// Longest time for a request.
    pub request_within: Duration,
    /// Time after which a connection without a request is closed.
    pub idle: Duration,
    /// Longest wait for a reply or a confirm of RabbitMQ.
    pub patience: Duration,
}

/// An error at the start of an edge.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        error: std::io::Error,
    },
    /// The endpoints for operators cannot be served.
    #[error("{0}")]
    Admin(#[from] HttpError),
}

/// Serves until `stopped` becomes true, and shuts down. `more` are routes in addition to those of the
/// API.
///
/// # Errors
/// If an address cannot be bound.
pub async fn run(
    config: Config,
    more: Router<Edge>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), EdgeError> {
    let address = config.http;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| EdgeError::Bind { address, error })?;
    let admin = match config.admin {
        Some(address) => Some(HttpServer::bind(address).await?),
        None => None,
    };
    metrics::describe();
    let client = Client::connect(config.addresses, config.names);
    let edge = Edge {
        players: Players::new(client.clone(), config.bounds.patience),
        access: config.access,
        limits: Arc::new(Limits::new(config.rates)),
    };
    let readiness = Readiness::new(client, edge.clone());
    let guard = Guard::new(edge.clone(), config.bounds);
    let routes = guard.around(api::routes().merge(more), config.origins);
    let connections = Connections::new(config.bounds, routes.with_state(edge.clone()));
    // The program shows its addresses, since port 0 picks one.
    if let Some(admin) = &admin {
        tracing::info!(address = ?admin.address(), "serving /healthz, /readyz and /metrics");
    }
    let bound = listener.local_addr().unwrap_or(address);
    let tls = config.certificate.is_some();
    tracing::info!(address = %bound, tls, "serving the HTTP API");
    let background = {
        let (edge, certificate) = (edge.clone(), config.certificate.clone());
        let readiness = readiness.clone();
        async move {
            let admin = async {
                match admin {
                    Some(admin) => admin.serve(readiness).await,
                    None => std::future::pending().await,
                }
            };
            let certificate = async {
                match certificate {
                    Some(certificate) => certificate.keep_current().await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(
                admin,
                certificate,
                edge.access.keep_current(),
                tidy(&edge.limits)
            );
        }
    };
    let background = tokio::spawn(background);
    let mut open = JoinSet::new();
    let permits = Arc::new(Semaphore::new(config.bounds.connections));
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = accept(&listener, &permits) => accepted,
            Some(_) = open.join_next(), if !open.is_empty() => continue,
        };
        let Some((stream, peer, permit)) = accepted else {
            continue;
        };
        let connection =
            connections.serve(stream, peer, config.certificate.as_ref(), stopped.clone());
        open.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    readiness.stop();
    drop(listener);
    tracing::info!(
        connections = open.len(),
        "shutting down: no new connections"
    );
    // Each request ends once RabbitMQ has confirmed its events, so no batch is left.
    let deadline = Instant::now() + config.grace.saturating_sub(DEADLINE_MARGIN);
    let ended = async { while open.join_next().await.is_some() {} };
    if timeout_at(deadline, ended).await.is_err() {
        tracing::warn!(
            connections = open.len(),
            "the shutdown has exceeded --grace; the requests in progress are not answered"
        );
    }
    background.abort();
    Ok(())
}

/// A connection, its peer, and its share of the bound of connections.
type Accepted = (
    tokio::net::TcpStream,
    IpAddr,
    tokio::sync::OwnedSemaphorePermit,
);

/// Accepts a connection as soon as there are fewer than allowed.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Responses are small, and a player waits for them.
            let _ = stream.set_nodelay(true);
            Some((stream, peer.ip().to_canonical(), permit))
        }
        Err(error) => {
            tracing::debug!(%error, "cannot accept a connection");
            // Such as no free file descriptor.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn tidy(limits: &Limits) {
    let mut tick = interval(TIDY_EVERY);
    loop {
        tick.tick().await;
        limits.clean();
    }
}

/// Parses an origin of web pages, such as `https://www.example.com`.
///
/// # Errors
/// If it is not a scheme and a host without a path.
pub fn origin(text: &str) -> Result<HeaderValue, &'static str> {
    let form = "an origin such as https://www.example.com, or *";
    if text == "*" {
        return Ok(HeaderValue::from_static("*"));
    }
    let (scheme, host) = text.split_once("://").ok_or(form)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if !["http", "https"].contains(&scheme) || host.is_empty() || !host.chars().all(plain) {
        return Err(form);
    }
    HeaderValue::from_str(text).map_err(|_| form)
}
