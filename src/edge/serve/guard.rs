//! The bounds around all routes, their metrics and their headers.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    response::{IntoResponse, Response},
    routing::Route,
};
use tokio::{sync::Semaphore, time::timeout};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_layer::layer_fn;
use tower_service::Service;

use super::{Bounds, peers::Peers};
use crate::edge::{
    Access, Edge, Peer, RefusedFor,
    api::{ApiError, kinds},
    metrics::{Abandoned, FinishedRequest, RequestMetrics},
    players::TRACE,
};
use crate::wire::Trace;

/// Longest address of a request, in bytes.
const MAX_ADDRESS_BYTES: usize = 2_048;
/// The time to wait before a repetition.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Time for which a browser keeps the permission to call.
const CORS_FOR: Duration = Duration::from_secs(3_600);

/// The bounds around all routes.
pub(super) struct Guard {
    edge: Edge,
    bounds: Bounds,
    requests: Semaphore,
    /// The requests in progress of each client.
    clients: Peers,
    metrics: RequestMetrics,
}

impl Guard {
    pub(super) fn new(edge: Edge, bounds: Bounds) -> Self {
        Self {
            edge,
            bounds,
            requests: Semaphore::new(bounds.requests),
            clients: Peers::default(),
            metrics: RequestMetrics::new(),
        }
    }

    /// Wraps routes in the bounds.
    pub(super) fn around(self, routes: Router<Edge>, origins: Vec<HeaderValue>) -> Router<Edge> {
        let routes = routes.fallback(async || ApiError::not_found());
        let guard = Arc::new(self);
        let routes = routes.layer(layer_fn(move |routes: Route| Guarded {
            guard: Arc::clone(&guard),
            routes,
        }));
        // Outermost, since a web page can only read responses with CORS headers.
        match cors(origins) {
            Some(cors) => routes.layer(cors),
            None => routes,
        }
    }

    /// Handles a request within the bounds. `handled` starts when it is polled.
    async fn handle(
        &self,
        head: &Head,
        handled: impl Future<Output = Result<Response, Infallible>>,
    ) -> Result<Response, ApiError> {
        if head.is_long {
            let detail = "the address is longer than 2,048 bytes";
            return Err(ApiError::new(&kinds::ADDRESS_TOO_LONG, detail));
        }
        // The server has set the address.
        let client = head.client.ok_or_else(ApiError::not_found)?;
        self.edge.limits.client(client).map_err(|wait| {
            let detail = "the client sends more requests a second than this edge accepts";
            ApiError::throttled(detail, wait)
        })?;
        // The bound of connections is not enough: an HTTP/2 connection has many requests. A bound above
        // that of all requests needs no count.
        let most = self.bounds.of_client(self.edge.access.trusts(client));
        let own = (most < self.bounds.requests).then(|| self.clients.admit(client, most));
        let Some(_own) = own.map_or(Some(None), |own| own.map(Some)) else {
            let detail = "the client has too many requests in progress";
            return Err(ApiError::throttled(detail, RETRY_AFTER).counted("crowded"));
        };
        let Ok(_permit) = self.requests.try_acquire() else {
            let detail =
                "the edge has too many requests in progress: play on, and repeat the request";
            return Err(ApiError::new(&kinds::UNAVAILABLE, detail).retry_after(RETRY_AFTER));
        };
        let _counted = self.metrics.in_progress();
        match timeout(self.bounds.request_within, handled).await {
            Ok(Ok(response)) => Ok(response),
            Err(_) => {
                let detail = "the request did not arrive in time";
                Err(ApiError::new(&kinds::TIMEOUT, detail).retry_after(RETRY_AFTER))
            }
        }
    }

    /// Counts and logs a request that has ended, and sets the headers of its response.
    fn end(&self, head: &Head, response: &mut Response) {
        let ended = FinishedRequest {
            method: &head.method,
            route: head.route.as_ref().map(MatchedPath::as_str),
            status: response.status(),
            took: head.began.elapsed(),
            refused: response
                .extensions()
                .get()
                .map(|RefusedFor(reason)| *reason),
        };
        self.metrics.count(&ended);
        tracing::debug!(
            method = %ended.method,
            route = ended.route,
            status = ended.status.as_u16(),
            ms = ended.took.as_millis(),
            refused = ended.refused,
            "a request has ended"
        );
        let headers = response.headers_mut();
        let no_store = HeaderValue::from_static("no-store");
        headers.entry(header::CACHE_CONTROL).or_insert(no_store);
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    }
}

/// The parts of a request that its bounds, metrics and log need.
struct Head {
    began: Instant,
    method: Method,
    route: Option<MatchedPath>,
    client: Option<IpAddr>,
    /// Whether the address is too long.
    is_long: bool,
}

impl Head {
    #[expect(
        clippy::disallowed_methods,
        reason = "it measures the duration of a request"
    )]
    fn of(request: &Request, access: &Access) -> Self {
        let began = Instant::now();
        let peer = request.extensions().get::<Peer>();
        let address = request.uri().path_and_query();
        Self {
            began,
            method: request.method().clone(),
            route: request.extensions().get().cloned(),
            client: peer.map(|peer| access.client(request.headers(), peer.address)),
            is_long: address.is_some_and(|address| address.as_str().len() > MAX_ADDRESS_BYTES),
        }
    }
}

/// Routes within the bounds. A layer of its own costs a request fewer allocations than
/// `axum::middleware::from_fn`.
#[derive(Clone)]
struct Guarded {
    guard: Arc<Guard>,
    routes: Route,
}

impl Service<Request> for Guarded {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let guard = Arc::clone(&self.guard);
        let head = Head::of(&request, &guard.edge.access);
        let trace = trace(request.headers());
        let handled = TRACE.scope(trace, self.routes.call(request));
        Box::pin(async move {
            let abandoned = Abandoned;
            let mut response = guard.handle(&head, handled).await.into_response();
            std::mem::forget(abandoned);
            guard.end(&head, &mut response);
            Ok(response)
        })
    }
}

/// The trace that a request continues.
fn trace(headers: &HeaderMap) -> Option<Trace> {
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    Trace::parse(header("traceparent")?, header("tracestate"))
}

fn cors(origins: Vec<HeaderValue>) -> Option<CorsLayer> {
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
