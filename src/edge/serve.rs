//! The server: it accepts connections, serves them within bounds, and shuts down in order.

mod activity;
mod config;
mod connection;
mod guard;
mod peers;
mod tls;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, interval, timeout_at},
};

pub use config::{Bounds, Config, EdgeError, origin};
pub use guard::CorsOrigins;
pub use tls::{Certificate, CertificateError};

use super::{Edge, Limits, Players, Readiness, Services, api, metrics};
use crate::{client::Client, ops::HttpServer};
use connection::Connections;
use guard::Guard;
use peers::Peers;

/// Interval of the work in the background.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// Interval of checks of the connection to RabbitMQ.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Time of a shutdown before the deadline of the process.
const DEADLINE_MARGIN: Duration = Duration::from_millis(500);

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
    let edge = Edge::from(Services {
        players: Players::new(client.clone(), config.bounds.patience),
        access: config.access,
        limits: Limits::new(config.rates),
    });
    let readiness = Readiness::new(client.clone(), edge.clone());
    let guard = Guard::new(edge.clone(), config.bounds);
    let routes = guard.around(api::routes().merge(more), config.origins);
    let connections = Connections::new(config.bounds, routes.with_state(edge.clone()));
    // The program shows its addresses, since port 0 picks one.
    if let Some(admin) = &admin {
        let address = admin.address().map(|address| address.to_string());
        tracing::info!(address, "serving /healthz, /readyz and /metrics");
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
                tidy(&edge.limits),
                report(&client)
            );
        }
    };
    let background = tokio::spawn(background);
    let mut open = JoinSet::new();
    let permits = Arc::new(Semaphore::new(config.bounds.connections));
    let peers = Peers::default();
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = accept(&listener, &permits) => accepted,
            Some(_) = open.join_next(), if !open.is_empty() => continue,
        };
        let Some((stream, peer, permit)) = accepted else {
            continue;
        };
        // A proxy has the connections of many clients.
        let most = match edge.access.trusts(peer) {
            true => usize::MAX,
            false => config.bounds.client_connections,
        };
        let Some(counted) = peers.admit(peer, most) else {
            metrics::closed("crowded");
            continue;
        };
        let connection =
            connections.serve(stream, peer, config.certificate.as_ref(), stopped.clone());
        open.spawn(async move {
            connection.await;
            drop((permit, counted));
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

/// Logs losses of the connection to RabbitMQ.
async fn report(client: &Client) {
    let mut tick = interval(CHECK_EVERY);
    let mut was_lost = false;
    loop {
        tick.tick().await;
        let failure = client.failure();
        match &failure {
            Some(error) if !was_lost => {
                tracing::warn!(%error, "there is no connection to RabbitMQ; requests get 503");
            }
            None if was_lost => tracing::info!("connected to RabbitMQ again"),
            _ => {}
        }
        was_lost = failure.is_some();
    }
}

async fn tidy(limits: &Limits) {
    let mut tick = interval(TIDY_EVERY);
    loop {
        tick.tick().await;
        limits.clean();
    }
}
