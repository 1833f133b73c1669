//! `/healthz`, `/readyz` and `/metrics`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::net::TcpListener;

use super::{
    Figures, Health, exposition,
    instruments::{REQUEST_BOUNDS_S, REQUEST_SECONDS},
};

/// Interval at which samples of histograms are moved into buckets, with or without scrapes. Samples
/// use memory until then.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// An error at the start of the endpoints.
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
    /// A metrics recorder is already installed.
    #[error("cannot record metrics: {0}")]
    Metrics(String),
}

/// The data of the endpoints.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Health of this worker.
    pub health: Arc<Health>,
    /// Figures of its replicas.
    pub figures: Arc<Figures>,
    /// Names of the reasons of bad entries, by their number.
    pub reasons: Vec<&'static str>,
    /// Reads the monotonic clock of reports, in milliseconds.
    pub clock: fn() -> u64,
}

/// The HTTP endpoints for operators. They show no secrets and change nothing.
pub struct HttpServer {
    listener: TcpListener,
    metrics: PrometheusHandle,
}

#[derive(Clone)]
struct Pages {
    shown: Endpoints,
    metrics: PrometheusHandle,
    process: Collector,
}

impl HttpServer {
    /// Binds `address` and starts recording metrics.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, HttpError> {
        let of_requests = Matcher::Full(REQUEST_SECONDS.to_owned());
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(of_requests, &REQUEST_BOUNDS_S)
            .map_err(|e| HttpError::Metrics(e.to_string()))?
            .install_recorder()
            .map_err(|e| HttpError::Metrics(e.to_string()))?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| HttpError::Bind { address, error })?;
        Ok(Self { listener, metrics })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until the process ends.
    pub async fn serve(self, shown: Endpoints) {
        let process = Collector::default();
        process.describe();
        let metrics = self.metrics.clone();
        let pages = Pages {
            shown,
            metrics: self.metrics,
            process,
        };
        let routes = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics_page))
            .with_state(pages);
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP_EVERY).await;
                metrics.run_upkeep();
            }
        };
        tokio::select! {
            served = async { axum::serve(self.listener, routes).await } => {
                if let Err(error) = served {
                    tracing::error!(%error, "the HTTP endpoints are gone");
                }
            }
            () = upkeep => {}
        }
    }
}

async fn healthz(State(pages): State<Pages>) -> Response {
    let shown = &pages.shown;
    match shown.health.unsound((shown.clock)()) {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn readyz(State(pages): State<Pages>) -> Response {
    let shown = &pages.shown;
    let report = shown.health.read((shown.clock)());
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::to_string(&report).unwrap_or_default();
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, format!("{body}\n")).into_response()
}

async fn metrics_page(State(pages): State<Pages>) -> Response {
    pages.process.collect();
    let mut page = pages.metrics.render();
    let shown = &pages.shown;
    let now_ms = (shown.clock)();
    let (report, figures) = (shown.health.read(now_ms), shown.figures.read());
    page += &exposition::render(&report, &figures, &shown.reasons, now_ms);
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (text, page).into_response()
}
