//! Metrics and readiness of an edge. No label contains an account.

mod requests;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use metrics::{Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge};
pub(super) use requests::{FinishedRequest, RequestMetrics};
use serde_json::json;

use super::Edge;
use crate::{client::Client, ops::StatusSource};

const REQUESTS: &str = "streamwatch_edge_requests_total";
const SECONDS: &str = "streamwatch_edge_request_duration_seconds";
const REFUSED: &str = "streamwatch_edge_refused_total";
const CONNECTIONS: &str = "streamwatch_edge_connections";
const CLOSED: &str = "streamwatch_edge_connections_closed_total";
const IN_PROGRESS: &str = "streamwatch_edge_requests_in_progress";
const WAITING: &str = "streamwatch_edge_waiting_bytes";
const CACHED: &str = "streamwatch_edge_cached_streams";
const READY: &str = "streamwatch_edge_ready";

/// Describes all metrics.
pub(super) fn describe() {
    describe_counter!(
        REQUESTS,
        "HTTP requests by method, route and status: sum() over edges."
    );
    describe_histogram!(
        SECONDS,
        "Duration of HTTP requests by route, from their headers to the response: sum() over edges."
    );
    describe_counter!(
        REFUSED,
        "HTTP requests that were not fulfilled, by reason: sum() over edges."
    );
    describe_gauge!(CONNECTIONS, "Open HTTP connections: sum() over edges.");
    describe_counter!(
        CLOSED,
        "HTTP connections that this edge closed, by reason: slow (headers or TLS handshake), idle, \
         crowded (too many of one address), error. sum() over edges."
    );
    describe_gauge!(IN_PROGRESS, "HTTP requests in progress: sum() over edges.");
    describe_gauge!(
        WAITING,
        "Memory of the heartbeats and stops that wait for RabbitMQ, at most 16 MiB: sum() over edges."
    );
    describe_gauge!(
        CACHED,
        "Streams in the caches of news and of recent signs of life: sum() over edges."
    );
    describe_gauge!(
        READY,
        "1 if this edge is ready, as on /readyz: sum() over edges."
    );
}

/// Counts a request as abandoned when dropped: its client has disconnected before the response.
pub(super) struct Abandoned;

impl Drop for Abandoned {
    fn drop(&mut self) {
        counter!(REFUSED, "reason" => "abandoned").increment(1);
    }
}

/// Increments a gauge until dropped.
pub(super) struct GaugeGuard(Gauge);

impl GaugeGuard {
    /// Counts a connection.
    pub(super) fn connection() -> Self {
        Self::new(gauge!(CONNECTIONS))
    }

    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Counts a connection that this edge closed.
pub(super) fn closed(reason: &'static str) {
    counter!(CLOSED, "reason" => reason).increment(1);
}

/// The readiness of an edge. It is ready if it is connected to RabbitMQ, has read the keys of all
/// tokens, and is not shutting down.
#[derive(Clone)]
pub struct Readiness {
    client: Client,
    edge: Edge,
    stopping: Arc<AtomicBool>,
}

impl Readiness {
    pub(super) fn new(client: Client, edge: Edge) -> Self {
        Self {
            client,
            edge,
            stopping: Arc::default(),
        }
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The reason why the edge is not ready.
    fn obstacle(&self) -> Option<&'static str> {
        if self.stopping.load(Ordering::Relaxed) {
            Some("it is shutting down")
        } else if !self.client.is_connected() {
            Some("there is no connection to RabbitMQ, or RabbitMQ blocks it")
        } else if !self.edge.access.is_complete() {
            Some("the token keys have not been read from their URL")
        } else {
            None
        }
    }
}

impl StatusSource for Readiness {
    fn restart_reason(&self) -> Option<String> {
        None
    }

    fn readiness(&self) -> (bool, String) {
        let obstacle = self.obstacle();
        let mut report = json!({ "ready": obstacle.is_none() });
        if let Some(reason) = obstacle {
            report["reason"] = reason.into();
        }
        (obstacle.is_none(), report.to_string())
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    fn collect(&self) {
        let players = &self.edge.players;
        let (news, signs_of_life) = players.cached_streams();
        gauge!(READY).set(if self.obstacle().is_none() { 1.0 } else { 0.0 });
        gauge!(WAITING).set(players.waiting_bytes() as f64);
        gauge!(CACHED, "cache" => "news").set(news as f64);
        gauge!(CACHED, "cache" => "signs_of_life").set(signs_of_life as f64);
    }
}
