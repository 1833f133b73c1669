//! The metrics of requests.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{GaugeGuard, IN_PROGRESS, REFUSED, REQUESTS, SECONDS};

/// The label of requests without a route.
const NO_ROUTE: &str = "(none)";

/// A request that has ended.
pub(in crate::edge) struct FinishedRequest<'a> {
    pub(in crate::edge) method: &'a Method,
    /// The pattern of its address; `None` if there is no route.
    pub(in crate::edge) route: Option<&'a str>,
    pub(in crate::edge) status: StatusCode,
    pub(in crate::edge) took: Duration,
    /// The reason if it was not fulfilled.
    pub(in crate::edge) refused: Option<&'static str>,
}

/// Counts requests. It keeps the handles of the metrics of each route, so that a request neither
/// allocates labels nor looks up a metric by them.
///
/// To be created after the recorder is installed.
pub(in crate::edge) struct RequestMetrics {
    in_progress: Gauge,
    /// By the pattern of the address. The program states the patterns, so there are few.
    routes: RwLock<HashMap<Box<str>, Route>>,
}

/// The metrics of a route.
struct Route {
    seconds: Histogram,
    /// The counter of each method and status that occurred: few of each.
    requests: Vec<(Label, Counter)>,
}

/// A method as a label, and a status.
type Label = (&'static str, StatusCode);

impl RequestMetrics {
    pub(in crate::edge) fn new() -> Self {
        Self {
            in_progress: gauge!(IN_PROGRESS),
            routes: RwLock::default(),
        }
    }

    /// Counts a request in progress as long as the returned value exists.
    pub(in crate::edge) fn in_progress(&self) -> GaugeGuard {
        GaugeGuard::new(self.in_progress.clone())
    }

    /// Counts a request that has ended.
    pub(in crate::edge) fn count(&self, ended: &FinishedRequest<'_>) {
        let route = ended.route.unwrap_or(NO_ROUTE);
        let label = (method(ended.method), ended.status);
        if !self.count_known(route, label, ended.took) {
            self.add(route, label);
            self.count_known(route, label, ended.took);
        }
        if let Some(reason) = ended.refused {
            counter!(REFUSED, "reason" => reason).increment(1);
        }
    }

    /// Counts a request whose metrics are stored. Returns whether they are.
    fn count_known(&self, route: &str, label: Label, took: Duration) -> bool {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let Some((seconds, requests)) = routes.get(route).and_then(|route| {
            let mut counters = route.requests.iter();
            let (_, requests) = counters.find(|(known, _)| *known == label)?;
            Some((&route.seconds, requests))
        }) else {
            return false;
        };
        seconds.record(took.as_secs_f64());
        requests.increment(1);
        true
    }

    /// Stores the metrics of a route, a method and a status.
    fn add(&self, route: &str, (method, status): Label) {
        let label = route.to_owned();
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let known = routes.entry(route.into()).or_insert_with(|| Route {
            seconds: histogram!(SECONDS, "route" => label.clone()),
            requests: Vec::new(),
        });
        let code = status.as_u16().to_string();
        let counter = counter!(REQUESTS, "method" => method, "route" => label, "status" => code);
        // If another thread has added it too, both have the same counter.
        known.requests.push(((method, status), counter));
    }
}

/// The label of a method. A client can invent methods.
const fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "(other)",
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_request_is_counted_by_its_method_route_and_status() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let page = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let metrics = RequestMetrics::new();
            let invented = Method::from_bytes(b"INVENTED").unwrap();
            let of = |method: &Method, route, status, refused| {
                metrics.count(&FinishedRequest {
                    method,
                    route,
                    status,
                    took: Duration::from_millis(20),
                    refused,
                });
            };
            let heartbeats = Some("/heartbeats");
            for _ in 0..3 {
                of(&Method::POST, heartbeats, StatusCode::NO_CONTENT, None);
            }
            of(&Method::POST, heartbeats, StatusCode::GONE, Some("ended"));
            of(&invented, None, StatusCode::NOT_FOUND, None);
            let _counted = metrics.in_progress();
            let page = page.render();
            let has = |line: &str| assert!(page.contains(line), "{line} in {page}");
            has(&format!(
                "{REQUESTS}{{method=\"POST\",route=\"/heartbeats\",status=\"204\"}} 3"
            ));
            has(&format!(
                "{REQUESTS}{{method=\"POST\",route=\"/heartbeats\",status=\"410\"}} 1"
            ));
            has(&format!(
                "{REQUESTS}{{method=\"(other)\",route=\"(none)\",status=\"404\"}} 1"
            ));
            has(&format!("{SECONDS}_count{{route=\"/heartbeats\"}} 4"));
            has(&format!("{REFUSED}{{reason=\"ended\"}} 1"));
            has(&format!("{IN_PROGRESS} 1"));
        });
    }
}
