//! `/healthz`, `/readyz` and `/metrics`.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use super::Health;

/// Why the endpoints are not there.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// There is a recorder of metrics already.
    #[error("cannot record metrics: {0}")]
    Metrics(String),
}

/// The operators' HTTP endpoints. They hold no secrets and take no orders.
pub struct HttpServer {
    listener: TcpListener,
    metrics: PrometheusHandle,
}

impl HttpServer {
    /// Binds `address` and starts recording metrics.
    ///
    /// # Errors
    /// Where the address is taken.
    pub async fn bind(address: SocketAddr) -> Result<Self, HttpError> {
        let metrics = PrometheusBuilder::new()
            .install_recorder()
            .map_err(|e| HttpError::Metrics(e.to_string()))?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| HttpError::Bind { address, error })?;
        Ok(Self { listener, metrics })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until the process ends. `clock` reads the monotonic clock that reports are made by,
    /// in milliseconds.
    pub async fn serve(self, health: Arc<Health>, clock: fn() -> u64) {
        let metrics = self.metrics;
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route(
                "/readyz",
                get(move || async move {
                    let report = health.read(clock());
                    let status = if report.ready {
                        StatusCode::OK
                    } else {
                        StatusCode::SERVICE_UNAVAILABLE
                    };
                    let body = serde_json::to_string(&report).unwrap_or_default();
                    let json = [(header::CONTENT_TYPE, "application/json")];
                    (status, json, format!("{body}\n")).into_response()
                }),
            )
            .route(
                "/metrics",
                get(move || async move {
                    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
                    (text, metrics.render())
                }),
            );
        if let Err(error) = axum::serve(self.listener, routes).await {
            tracing::error!(%error, "the HTTP endpoints are gone");
        }
    }
}
