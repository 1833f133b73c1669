//! Reads key sets over HTTP.

use std::{sync::Arc, time::Duration};

use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{keys, url::KeysUrl};

/// Longest time for one URL.
const WITHIN: Duration = Duration::from_secs(10);
/// Largest key set, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// Reads the key set of a URL, which has a usable key.
pub(super) async fn fetch(url: &str) -> Result<String, String> {
    let parsed = KeysUrl::parse(url).ok_or("the URL must start with https://")?;
    let body = tokio::time::timeout(WITHIN, get(&parsed)).await;
    let body = body.map_err(|_| format!("no response within {WITHIN:?}"))??;
    let json = String::from_utf8(body.into()).map_err(|_| "the response is not UTF-8")?;
    keys::of_set(&json, false)?;
    Ok(json)
}

async fn get(url: &KeysUrl) -> Result<Bytes, String> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await;
    let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    if !url.tls {
        return get_over(stream, url).await;
    }
    let name = ServerName::try_from(url.host.clone()).map_err(|error| error.to_string())?;
    let connected = connector()?.connect(name, stream).await;
    let stream = connected.map_err(|error| format!("cannot connect over TLS: {error}"))?;
    get_over(stream, url).await
}

/// Trusts the authorities of the system, or those of `SSL_CERT_FILE`.
fn connector() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(loaded.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

async fn get_over<S>(stream: S, url: &KeysUrl) -> Result<Bytes, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::get(&url.path)
        .header(header::HOST, url.authority())
        .header(header::ACCEPT, "application/json")
        .header(
            header::USER_AGENT,
            concat!("streamwatch/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!(
                "the server responded with status {}",
                response.status().as_u16()
            ));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES)
            .collect()
            .await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes())
    };
    // Drives the connection until the exchange ends.
    let connection = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        body = exchange => body,
        never = connection => never,
    }
}
