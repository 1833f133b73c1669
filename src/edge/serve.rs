//! The server: it accepts connections, serves them within bounds, and shuts down in order.

mod accept;
mod config;
mod connection;
mod guard;
mod peers;
mod tls;
mod traffic;

use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, interval, sleep, timeout_at},
};

pub use config::{Bounds, Config, origin};
pub use tls::Certificate;

use super::{
    Edge, Players, Readiness, RequestLimits, Services,
    adobe::{self, PolicyFile},
    api, metrics,
};
use crate::{
    client::Client,
    ops::{HttpError, HttpServer},
};
use accept::Acceptor;
use connection::{Connections, ServerPhase};
use guard::Guard;

/// Interval between background tasks.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// Interval between checks of the connection to RabbitMQ.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Time between the end of a shutdown and the deadline of the process.
const DEADLINE_MARGIN: Duration = Duration::from_millis(500);

/// Serves until `stopped` becomes true, and shuts down.
///
/// # Errors
/// If an address cannot be bound.
pub async fn run(config: Config, mut stopped: watch::Receiver<bool>) -> Result<(), HttpError> {
    let address = config.http;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| HttpError::Bind { address, error })?;
    let admin = match config.admin {
        Some(address) => Some(HttpServer::bind(address).await?),
        None => None,
    };
    metrics::describe();
    let client = Client::connect(config.addresses, config.names);
    let edge = Edge::new(Services {
        players: Players::new(client.clone(), config.bounds.patience),
        access: config.access,
        limits: config.limits,
    });
    let readiness = Readiness::new(client.clone(), edge.clone());
    let guard = Guard::new(edge.clone(), config.bounds);
    let adobe = config.policies.as_ref().map(adobe::routes);
    let routes = api::routes().merge(adobe.unwrap_or_default());
    let routes = guard.around(routes, config.origins);
    let routes = routes.with_state(edge.clone());
    let (phase, phases) = watch::channel(ServerPhase::Serving);
    let certificate = config.certificate.clone();
    let bound = listener.local_addr().unwrap_or(address);
    let connections = Connections::new(config.bounds, routes, certificate, phases);
    let mut acceptor = Acceptor::new(listener, connections, edge.access.clone());
    // The program shows its addresses, since port 0 picks one.
    if let Some(admin) = &admin {
        let address = admin.address().map(|address| address.to_string());
        tracing::info!(address, "serving /healthz, /readyz and /metrics");
    }
    let tls = config.certificate.is_some();
    tracing::info!(address = %bound, tls, "serving the HTTP API");
    let background = {
        let (edge, readiness) = (edge.clone(), readiness.clone());
        let (certificate, policies) = (config.certificate.clone(), config.policies.clone());
        async move {
            let admin = admin.map(|admin| admin.serve(readiness));
            let certificate = certificate.as_ref().map(Certificate::keep_current);
            let policies = policies.as_ref().map(PolicyFile::keep_current);
            tokio::join!(
                OptionFuture::from(admin),
                OptionFuture::from(certificate),
                OptionFuture::from(policies),
                edge.access.keep_current(),
                tidy(&edge.limits),
                report(&client)
            );
        }
    };
    let background = tokio::spawn(background);
    acceptor.accept_until(stopped.wait_for(|it| *it)).await;
    let deadline = Instant::now() + config.grace.saturating_sub(DEADLINE_MARGIN);
    readiness.stop();
    if !config.drain.is_zero() {
        tracing::info!(
            connections = acceptor.open.len(),
            drain = ?config.drain,
            "draining: not ready, and connections end after their next response"
        );
        let _ = phase.send(ServerPhase::Draining);
        acceptor.accept_until(sleep(config.drain)).await;
    }
    let mut open = acceptor.close();
    let _ = phase.send(ServerPhase::Closing(Instant::now()));
    tracing::info!(
        connections = open.len(),
        "shutting down: no new connections"
    );
    // Each request ends once RabbitMQ has confirmed its events, so no batch is left.
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

async fn tidy(limits: &RequestLimits) {
    let mut tick = interval(TIDY_EVERY);
    loop {
        tick.tick().await;
        limits.clean();
    }
}
