//! A connection over TLS.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_io::AsyncRead;
use lapin::{
    Connection, ConnectionProperties,
    runtime::default_runtime,
    tcp::{AMQPUriTcpExt, RustlsConnector},
    uri::{AMQPScheme, AMQPUri},
};

use super::{Tls, TlsProblem};
use crate::broker::connect::Failure;

/// How long a server may think about our certificate.
const VERDICT_WITHIN: Duration = Duration::from_secs(2);

/// Connects, with the files as they are now.
///
/// lapin's own way would trust the system's authorities besides ours, and fail without them.
pub(in crate::broker) async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
    tls: &Tls,
) -> Result<Connection, Failure> {
    let connector = tls.connector().await?;
    let handshake_is_over = Arc::new(AtomicBool::new(false));
    let connect = {
        let (connector, is_over) = (connector.clone(), Arc::clone(&handshake_is_over));
        async move |uri: AMQPUri, runtime| {
            let stream = plain(&uri).connect_async(&runtime).await?;
            let stream = stream.into_rustls(&connector, &uri.authority.host).await?;
            is_over.store(true, Ordering::Relaxed);
            Ok(stream)
        }
    };
    let runtime = default_runtime().map_err(Failure::Lapin)?;
    let error = match Connection::connector(uri.clone(), runtime, connect, properties).await {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    let problem = if !handshake_is_over.load(Ordering::Relaxed) {
        TlsProblem::of_handshake(&error)
    } else if TlsProblem::is_hanging_up(&error) {
        Some(verdict(&uri, &connector).await)
    } else {
        None
    };
    Err(problem.map_or(Failure::Lapin(error), Failure::Tls))
}

/// Why the server hung up right after the handshake. From TLS 1.3 on it judges our certificate only
/// then, and a client that has written something meanwhile may not get to read what it says: so
/// here is one that only listens.
async fn verdict(uri: &AMQPUri, connector: &RustlsConnector) -> TlsProblem {
    let listening = async {
        let runtime = default_runtime().map_err(|error| io::Error::other(error.to_string()))?;
        let stream = plain(uri).connect_async(&runtime).await?;
        let mut stream = stream.into_rustls(connector, &uri.authority.host).await?;
        let mut nothing = [0];
        poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut nothing)).await
    };
    let said = tokio::time::timeout(VERDICT_WITHIN, listening).await;
    let said = said.ok().and_then(Result::err);
    said.and_then(|error| TlsProblem::of_io(&error))
        .unwrap_or(TlsProblem::ClosedAfterHandshake)
}

fn plain(uri: &AMQPUri) -> AMQPUri {
    AMQPUri {
        scheme: AMQPScheme::AMQP,
        ..uri.clone()
    }
}
