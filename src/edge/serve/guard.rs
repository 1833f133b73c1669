//! The bounds around all routes, their metrics and their headers.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header},
    middleware::{Next, from_fn_with_state},
    response::IntoResponse,
};
use tokio::sync::Semaphore;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{Bounds, peers::Peers};
use crate::edge::{
    ClientAddress, Edge, RefusedFor,
    api::{self, Refusal},
    metrics::{Abandoned, Counted, Ended},
    players::TRACE,
};
use crate::wire::Trace;

/// Longest address of a request, in bytes.
const MAX_ADDRESS_BYTES: usize = 2_048;
/// Time for which a browser keeps the permission to call.
const CORS_FOR: std::time::Duration = std::time::Duration::from_secs(3_600);

/// The origins of web pages that may call; none without a value.
#[derive(Clone, Debug, Default)]
pub struct CorsOrigins(pub Vec<HeaderValue>);

/// The bounds around all routes.
#[derive(Clone)]
pub(super) struct Guard {
    edge: Edge,
    bounds: Bounds,
    requests: Arc<Semaphore>,
    /// The requests in progress of each client.
    clients: Peers,
}

impl Guard {
    pub(super) fn new(edge: Edge, bounds: Bounds) -> Self {
        Self {
            edge,
            bounds,
            requests: Arc::new(Semaphore::new(bounds.requests)),
            clients: Peers::default(),
        }
    }

    /// Puts the bounds around routes.
    pub(super) fn around(self, routes: Router<Edge>, origins: CorsOrigins) -> Router<Edge> {
        let routes = routes.fallback(api::not_found);
        let routes = routes.layer(from_fn_with_state(self, guard));
        // Around all of it, since a page can read only responses with its headers.
        match cors(origins) {
            Some(cors) => routes.layer(cors),
            None => routes,
        }
    }

    async fn handle(&self, request: Request, next: Next) -> axum::response::Response {
        let address = request.uri().path_and_query();
        if address.is_some_and(|address| address.as_str().len() > MAX_ADDRESS_BYTES) {
            return Refusal::LongAddress.into_response();
        }
        // The server sets it.
        let Some(&ClientAddress { client, .. }) = request.extensions().get() else {
            return api::not_found().await;
        };
        if let Err(wait) = self.edge.limits.client(client) {
            return Refusal::Client(wait).into_response();
        }
        // Over HTTP/2, a connection has many.
        let most = self.bounds.of_client(self.edge.access.trusts(client));
        let Some(_own) = self.clients.admit(client, most) else {
            return Refusal::Crowded.into_response();
        };
        let Ok(_permit) = self.requests.try_acquire() else {
            return Refusal::Overloaded.into_response();
        };
        let _counted = Counted::request();
        let trace = trace(request.headers());
        let handled = TRACE.scope(trace, next.run(request));
        let response = tokio::time::timeout(self.bounds.request_within, handled).await;
        response.unwrap_or_else(|_| Refusal::TooSlow.into_response())
    }
}

/// The trace that a request continues.
fn trace(headers: &HeaderMap) -> Option<Trace> {
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    Trace::parse(header("traceparent")?, header("tracestate"))
}

/// Limits, counts and logs a request.
#[expect(
    clippy::disallowed_methods,
    reason = "it measures the duration of a request"
)]
async fn guard(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> axum::response::Response {
    let began = Instant::now();
    if let Some(address) = request.extensions().get::<ClientAddress>().copied() {
        let client = guard.edge.access.client(request.headers(), address.peer);
        request
            .extensions_mut()
            .insert(ClientAddress { client, ..address });
    }
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let abandoned = Abandoned::unless_ended();
    let mut response = guard.handle(request, next).await;
    abandoned.ended();
    let ended = Ended {
        method: &method,
        route: route.as_ref().map(MatchedPath::as_str),
        status: response.status(),
        took: began.elapsed(),
        refused: response
            .extensions()
            .get()
            .map(|RefusedFor(reason)| *reason),
    };
    ended.count();
    tracing::debug!(
        %method,
        route = ended.route,
        status = ended.status.as_u16(),
        ms = ended.took.as_millis(),
        refused = ended.refused,
        "a request has ended"
    );
    set_headers(&mut response);
    response
}

fn set_headers<B>(response: &mut Response<B>) {
    let headers = response.headers_mut();
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
}

fn cors(CorsOrigins(origins): CorsOrigins) -> Option<CorsLayer> {
    let allowed = match origins.as_slice() {
        [] => return None,
        all if all.iter().any(|origin| origin == "*") => AllowOrigin::any(),
        _ => AllowOrigin::list(origins),
    };
    let (key, trace, terminate) = ("idempotency-key", "traceparent", "x-terminate");
    let cors = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static(key),
            HeaderName::from_static(trace),
            HeaderName::from_static(terminate),
        ])
        .expose_headers([
            header::LOCATION,
            header::RETRY_AFTER,
            header::DATE,
            header::EXPIRES,
        ])
        .max_age(CORS_FOR);
    Some(cors)
}
