//! Connecting over TLS.

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

use super::{problem::TlsProblem, settings::Tls};
use crate::broker::{Addresses, connect_failure::ConnectFailure, filter};

/// Longest wait for the server's response to the client certificate, or to input that is not TLS.
const VERDICT_WITHIN: Duration = Duration::from_secs(2);
/// The record type of an alert, a TLS server's response to other protocols.
const ALERT: u8 = 21;
/// The part of the AMQP protocol header that fills the header of a TLS record.
const GREETING: &[u8; 5] = b"AMQP\0";

/// Connects over TLS. Reads the certificate files.
///
/// lapin's own TLS support trusts the system's authorities in addition, and fails without them.
pub(in crate::broker) async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
    addresses: &Addresses,
) -> Result<Connection, ConnectFailure> {
    let connector = addresses.tls().connector().await?;
    let handshake_is_over = Arc::new(AtomicBool::new(false));
    let connect = {
        let (connector, is_over) = (connector.clone(), Arc::clone(&handshake_is_over));
        async move |uri: AMQPUri| {
            let stream = secured(&uri, &connector).await?;
            is_over.store(true, Ordering::Relaxed);
            Ok(stream)
        }
    };
    let error =
        match filter::connect(uri.clone(), properties, addresses.largest_body(), connect).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
    let problem = if !handshake_is_over.load(Ordering::Relaxed) {
        TlsProblem::of_handshake(&error)
    } else if TlsProblem::is_closed_by_server(&error) {
        Some(verdict(&uri, &connector).await)
    } else {
        None
    };
    Err(problem.map_or(ConnectFailure::Lapin(error), ConnectFailure::Tls))
}

/// Finds the reason why the server closed the connection right after the handshake. Since TLS 1.3,
/// it verifies the client certificate only then, and a client that has written data may not receive
/// the alert. So this connection only reads.
async fn verdict(uri: &AMQPUri, connector: &RustlsConnector) -> TlsProblem {
    let reading = async {
        let mut stream = secured(uri, connector).await?;
        let mut nothing = [0];
        poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut nothing)).await
    };
    let read = tokio::time::timeout(VERDICT_WITHIN, reading).await;
    let error = read.ok().and_then(Result::err);
    error
        .and_then(|error| TlsProblem::of_io(&error))
        .unwrap_or(TlsProblem::ClosedAfterHandshake)
}

/// Opens a TLS stream, without AMQP.
pub(in crate::broker) async fn stream(
    uri: &AMQPUri,
    tls: &Tls,
) -> Result<impl AsyncRead + AsyncWrite + Unpin, ConnectFailure> {
    let connector = tls.connector().await?;
    let failed = |error: io::Error| match TlsProblem::of_io(&error) {
        Some(problem) => ConnectFailure::Tls(problem),
        None => ConnectFailure::Lapin(error.into()),
    };
    secured(uri, &connector).await.map_err(failed)
}

async fn secured(uri: &AMQPUri, connector: &RustlsConnector) -> io::Result<filter::ClearStream> {
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
        // The server responded with bytes that are not AMQP.
        ErrorKind::ParsingError(_) => true,
        // The server closed the connection before its response was read: request it again.
        ErrorKind::IOError(io) if io.kind() != io::ErrorKind::ConnectionRefused => {
            let alert = tokio::time::timeout(VERDICT_WITHIN, responds_with_alert(uri));
            matches!(alert.await, Ok(Ok(true)))
        }
        _ => false,
    };
    only_tls.then_some(TlsProblem::OnlyTls)
}

/// Returns whether the server responds to AMQP with a TLS alert. Sends only as many bytes as a TLS
/// server reads before it closes the connection, since unread bytes can discard its response. An
/// AMQP server waits for more bytes.
async fn responds_with_alert(uri: &AMQPUri) -> io::Result<bool> {
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
