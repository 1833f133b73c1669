//! One connection: TLS, HTTP/1.1 or HTTP/2, within its bounds.

use std::{future::Future, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, Request, header},
};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tower_service::Service;

use super::{
    Bounds,
    tls::Certificate,
    traffic::{Closes, Traffic, Watched},
};
use crate::edge::{Peer, metrics};

/// Most bytes of the headers of a request.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// Most requests at a time on a connection.
const MAX_CONCURRENT: u32 = 128;
/// Most bytes of bodies that a connection holds, and most of one body: the least window of HTTP/2,
/// which is larger than a body.
const WINDOW_BYTES: u32 = 65_535;
/// Time for the last response of a connection that is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Time for the first request of a connection when the server closes.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// The phase of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerPhase {
    /// It serves.
    Serving,
    /// It serves, and lets connections end with a response.
    Draining,
    /// It closes connections since this moment.
    Closing(Instant),
}

/// Serves connections.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) bounds: Bounds,
    routes: Router,
    certificate: Option<Certificate>,
    phase: watch::Receiver<ServerPhase>,
    builder: Builder<TokioExecutor>,
}

impl Connections {
    pub(super) fn new(
        bounds: Bounds,
        routes: Router,
        certificate: Option<Certificate>,
        phase: watch::Receiver<ServerPhase>,
    ) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            // `Traffic` ends slow and idle connections, without a timer for each request.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEADER_BYTES as usize)
            .max_headers(MAX_HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_concurrent_streams(MAX_CONCURRENT)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .keep_alive_interval(bounds.idle / 2)
            .keep_alive_timeout(bounds.headers_within);
        Self {
            bounds,
            routes,
            certificate,
            phase,
            builder,
        }
    }

    /// Serves one connection until it ends.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        address: IpAddr,
    ) -> impl Future<Output = ()> + Send + use<> {
        let this = self.clone();
        let acceptor = self.certificate.as_ref().map(Certificate::acceptor);
        async move {
            let _counted = metrics::GaugeGuard::connection();
            let peer = |is_tls| Peer { address, is_tls };
            let Some(acceptor) = acceptor else {
                return this.exchange(stream, peer(false)).await;
            };
            match timeout(this.bounds.headers_within, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => this.exchange(stream, peer(true)).await,
                Ok(Err(error)) => {
                    metrics::closed("error");
                    tracing::debug!(%error, "a TLS handshake has failed");
                }
                Err(_) => metrics::closed("slow"),
            }
        }
    }

    async fn exchange<S>(mut self, socket: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let traffic = Traffic::new(Instant::now());
        let io = TokioIo::new(Watched {
            socket,
            traffic: traffic.clone(),
        });
        let (routes, phase) = (self.routes.clone(), Arc::new(self.phase.clone()));
        let of_requests = traffic.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let is_http2 = request.version() == axum::http::Version::HTTP_2;
            let in_progress = of_requests.request(is_http2);
            request.extensions_mut().insert(peer);
            let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
            let (mut routes, phase) = (routes.clone(), Arc::clone(&phase));
            async move {
                // The routes are always ready.
                let mut response = routes.call(request).await;
                // If a chunked request also had a length, which hyper drops, a proxy may have used
                // that, and have taken the rest for another request (RFC 9112, section 6.1).
                let ends = is_last || !is_http2 && *phase.borrow() != ServerPhase::Serving;
                if ends && let Ok(response) = &mut response {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                drop(in_progress);
                response
            }
        });
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let mut check = pin!(sleep_until(Instant::now()));
        let (headers_within, idle) = (self.bounds.headers_within, self.bounds.idle);
        let closes = loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        metrics::closed("error");
                        tracing::debug!(error, "a connection has ended with an error");
                    }
                    return;
                }
                () = changed(&mut self.phase) => {}
                () = check.as_mut() => {}
            }
            let now = Instant::now();
            let mut next = match traffic.closes(headers_within, idle, now) {
                Ok(closes) => break Some(closes),
                Err(next) => next,
            };
            match *self.phase.borrow() {
                ServerPhase::Serving => {}
                // A GOAWAY. Earlier, a connection would close without an answer.
                ServerPhase::Draining if traffic.is_http2() => {
                    connection.as_mut().graceful_shutdown();
                }
                ServerPhase::Draining => {}
                ServerPhase::Closing(since) => {
                    let first = since + FIRST_WITHIN;
                    if traffic.has_begun() || now >= first {
                        break None;
                    }
                    next = next.min(first);
                }
            }
            check.as_mut().reset(next);
        };
        match closes {
            Some(Closes::Slow) => return metrics::closed("slow"),
            Some(Closes::Idle) => metrics::closed("idle"),
            None => {}
        }
        connection.as_mut().graceful_shutdown();
        if closes.is_some() {
            let _ = timeout(CLOSE_WITHIN, connection).await;
        } else {
            let _ = connection.await;
        }
    }
}

/// Waits for the next phase.
async fn changed(phase: &mut watch::Receiver<ServerPhase>) {
    if phase.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
