//! One connection: TLS, HTTP/1.1 or HTTP/2, within its bounds.

use std::{future::Future, net::IpAddr, pin::pin, time::Duration};

use axum::{Router, http::Request};
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

use super::{
    Bounds,
    activity::{Activity, Closes, Watched},
    tls::Certificate,
};
use crate::edge::{ClientAddress, metrics};

/// Most bytes of the headers of a request.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// Most requests at a time on a connection.
const MAX_CONCURRENT: u32 = 128;
/// Time for the last response of a connection that is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Serves connections.
#[derive(Clone)]
pub(super) struct Connections {
    bounds: Bounds,
    routes: Router,
    builder: Builder<TokioExecutor>,
}

impl Connections {
    pub(super) fn new(bounds: Bounds, routes: Router) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            // `Activity` ends slow and idle connections, without a timer for each request.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEADER_BYTES as usize)
            .max_headers(MAX_HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_concurrent_streams(MAX_CONCURRENT)
            .keep_alive_interval(bounds.idle / 2)
            .keep_alive_timeout(bounds.headers_within);
        Self {
            bounds,
            routes,
            builder,
        }
    }

    /// Serves one connection until it ends. After `stopped`, it serves the requests that have begun.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        certificate: Option<&Certificate>,
        stopped: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let this = self.clone();
        let acceptor = certificate.map(Certificate::acceptor);
        async move {
            let _counted = metrics::Counted::connection();
            let Some(acceptor) = acceptor else {
                return this.exchange(stream, peer, stopped).await;
            };
            match timeout(this.bounds.headers_within, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => this.exchange(stream, peer, stopped).await,
                Ok(Err(error)) => {
                    metrics::closed("error");
                    tracing::debug!(%error, "a TLS handshake has failed");
                }
                Err(_) => metrics::closed("slow"),
            }
        }
    }

    async fn exchange<S>(&self, socket: S, peer: IpAddr, mut stopped: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new(Instant::now());
        let io = TokioIo::new(Watched {
            socket,
            activity: activity.clone(),
        });
        let routes = self.routes.clone();
        let of_requests = activity.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let is_http2 = request.version() == axum::http::Version::HTTP_2;
            let in_progress = of_requests.request(is_http2);
            let client = peer;
            request
                .extensions_mut()
                .insert(ClientAddress { peer, client });
            let routes = routes.clone();
            async move {
                let response = tower_service(routes, request).await;
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
                _ = stopped.wait_for(|stopped| *stopped) => break None,
                () = check.as_mut() => {
                    match activity.closes(headers_within, idle, Instant::now()) {
                        Ok(closes) => break Some(closes),
                        Err(next) => check.as_mut().reset(next),
                    }
                }
            }
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

/// Passes a request to the routes, which are always ready.
async fn tower_service(
    mut routes: Router,
    request: Request<Incoming>,
) -> Result<axum::response::Response, std::convert::Infallible> {
    use tower_service::Service;
    routes.call(request).await
}
