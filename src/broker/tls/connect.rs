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

use futures_io::{AsyncRead, AsyncWrite};
use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    runtime::default_runtime,
    tcp::{AMQPUriTcpExt, RustlsConnector},
    uri::{AMQPScheme, AMQPUri},
};
use tokio::net::TcpStream;

use super::{Tls, TlsProblem};
use crate::broker::{connect::Failure, filter};

/// Timeout of the server's response to our certificate, or to input that is not TLS.
const VERDICT_WITHIN: Duration = Duration::from_secs(2);
/// The record type of an alert, a TLS server's response to other protocols.
const ALERT: u8 = 21;
/// The part of AMQP's greeting that fills a TLS record header.
const GREETING: &[u8; 5] = b"AMQP\0";

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
        async move |uri: AMQPUri| {
            let runtime = default_runtime()?;
            let stream = plain(&uri).connect_async(&runtime).await?;
            let stream = stream.into_rustls(&connector, &uri.authority.host).await?;
            is_over.store(true, Ordering::Relaxed);
            Ok(stream)
        }
    };
    let error = match filter::connect(uri.clone(), properties, connect).await {
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

/// Finds the reason why the server closed the connection right after the handshake. Since TLS 1.3,
/// it verifies our certificate only then, and a client that has written data may not receive the
/// alert. So this connection only reads.
async fn verdict(uri: &AMQPUri, connector: &RustlsConnector) -> TlsProblem {
    let listening = async {
        let mut stream = secured(uri, connector).await?;
        let mut nothing = [0];
        poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut nothing)).await
    };
    let said = tokio::time::timeout(VERDICT_WITHIN, listening).await;
    let said = said.ok().and_then(Result::err);
    said.and_then(|error| TlsProblem::of_io(&error))
        .unwrap_or(TlsProblem::ClosedAfterHandshake)
}

/// No more than the handshake: bytes to AMQP's own.
pub(in crate::broker) async fn stream(
    uri: &AMQPUri,
    tls: &Tls,
) -> Result<impl AsyncRead + AsyncWrite + Unpin, Failure> {
    let connector = tls.connector().await?;
    let failed = |error: io::Error| match TlsProblem::of_io(&error) {
        Some(problem) => Failure::Tls(problem),
        None => Failure::Lapin(error.into()),
    };
    secured(uri, &connector).await.map_err(failed)
}

async fn secured(
    uri: &AMQPUri,
    connector: &RustlsConnector,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let runtime = default_runtime().map_err(|error| io::Error::other(error.to_string()))?;
    let stream = plain(uri).connect_async(&runtime).await?;
    stream.into_rustls(connector, &uri.authority.host).await
}

/// The reason why a connection without TLS failed, if the port requires TLS.
pub(in crate::broker) async fn instead_of_amqp(
    uri: &AMQPUri,
    error: &lapin::Error,
) -> Option<TlsProblem> {
    let only_tls = match error.kind() {
        // It answered with something else than AMQP.
        ErrorKind::ParsingError(_) => true,
        // Or it hung up before its answer was read: ask for it again.
        ErrorKind::IOError(io) if io.kind() != io::ErrorKind::ConnectionRefused => {
            let asked = tokio::time::timeout(VERDICT_WITHIN, is_alarmed(uri));
            matches!(asked.await, Ok(Ok(true)))
        }
        _ => false,
    };
    only_tls.then_some(TlsProblem::OnlyTls)
}

/// Greets as AMQP does, but with so little that a TLS server has read all when it hangs up: else
/// its answer may be lost. An AMQP server waits for the rest.
async fn is_alarmed(uri: &AMQPUri) -> io::Result<bool> {
    let at = &uri.authority;
    let stream = TcpStream::connect((at.host.as_str(), at.port)).await?;
    stream.writable().await?;
    stream.try_write(GREETING)?;
    stream.readable().await?;
    let mut answer = [0];
    stream.try_read(&mut answer)?;
    Ok(answer == [ALERT])
}

fn plain(uri: &AMQPUri) -> AMQPUri {
    AMQPUri {
        scheme: AMQPScheme::AMQP,
        ..uri.clone()
    }
}
