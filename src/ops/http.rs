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
    instruments::{DURATION_SECONDS, REQUEST_BOUNDS_S},
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
        /// The address.
        address: SocketAddr,
        /// The cause.
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

/// The state of a process that the endpoints show.
pub trait StatusSource: Clone + Send + Sync + 'static {
    /// The reason to restart the process, if there is one.
    fn restart_reason(&self) -> Option<String>;

    /// Whether the process is ready, and its report as JSON.
    fn readiness(&self) -> (bool, String);

    /// Sets gauges before a scrape.
    fn collect(&self) {}

    /// Metric families in addition to those of the recorder.
    fn families(&self) -> String {
        String::new()
    }
}

impl StatusSource for Endpoints {
    fn restart_reason(&self) -> Option<String> {
        self.health.restart_reason((self.clock)())
    }

    fn readiness(&self) -> (bool, String) {
        let report = self.health.read((self.clock)());
        let json = serde_json::to_string(&report).unwrap_or_default();
        (report.ready, json)
    }

    fn families(&self) -> String {
        let now_ms = (self.clock)();
        let (report, figures) = (self.health.read(now_ms), self.figures.read());
        exposition::render(&report, &figures, &self.reasons, now_ms)
    }
}

#[derive(Clone)]
struct Pages<S> {
    source: S,
    metrics: PrometheusHandle,
    process: Collector,
}

impl HttpServer {
    /// Binds `address` and starts recording metrics.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, HttpError> {
        // Those of workers and of edges.
        let of_requests = Matcher::Suffix(DURATION_SECONDS.to_owned());
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
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until the process ends.
    pub async fn serve<S: StatusSource>(self, source: S) {
        let process = Collector::default();
        process.describe();
        let metrics = self.metrics.clone();
        let pages = Pages {
            source,
            metrics: self.metrics,
            process,
        };
        let routes = Router::new()
            .route("/healthz", get(healthz::<S>))
            .route("/readyz", get(readyz::<S>))
            .route("/metrics", get(metrics_page::<S>))
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
                    tracing::error!(%error, "the server of /healthz, /readyz and /metrics has stopped; restart this process");
                }
            }
            () = upkeep => {}
        }
    }
}

async fn healthz<S: StatusSource>(State(pages): State<Pages<S>>) -> Response {
    match pages.source.restart_reason() {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn readyz<S: StatusSource>(State(pages): State<Pages<S>>) -> Response {
    let (is_ready, report) = pages.source.readiness();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, format!("{report}\n")).into_response()
}

async fn metrics_page<S: StatusSource>(State(pages): State<Pages<S>>) -> Response {
    pages.process.collect();
    pages.source.collect();
    let page = pages.metrics.render() + &pages.source.families();
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (text, page).into_response()
}
