//! HTTPS and HTTP/2.

use std::sync::Arc;

use axum::http::Method;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::streams_of;
use crate::fixture::{
    Authority, Broker, Edge, Folder, Installation, PATIENCE, Valid, eventually, read, request,
};

async fn connect(edge: &Edge, authority: &Authority) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM");
    roots.add(root).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(edge.http).await.expect("it accepts");
    let name = ServerName::try_from("localhost").expect("a name");
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    connected.await.expect("a trusted certificate")
}

fn certificate(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let chain = stream.get_ref().1.peer_certificates();
    chain.expect("a certificate")[0].to_vec()
}

#[tokio::test]
async fn requests_share_a_connection_over_tls_and_a_changed_certificate_is_used() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let (folder, authority) = (Folder::new(), Authority::new("test"));
    let pair = || authority.server(&["localhost"], Valid::Now);
    let [cert, key] = folder.write_pair("", &pair());
    let edge =
        Edge::open_to_all(&installation, &["--https-cert", &cert, "--https-key", &key]).await;
    let stream = connect(&edge, &authority).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let first = certificate(&stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let opened = (0..20).map(|n| {
        let mut sender = sender.clone();
        async move {
            let path = format!("https://localhost{}", streams_of(&format!("viewer-{n}")));
            let response = sender
                .send_request(request(Method::POST, &path, &[], ""))
                .await;
            read(response.expect("a response"))
                .await
                .expect("a body")
                .is(201);
        }
    });
    futures_util::future::join_all(opened).await;
    connection.abort();

    folder.write_pair("", &pair());
    eventually(PATIENCE, "the changed certificate is in use", async || {
        let now = certificate(&connect(&edge, &authority).await);
        (now != first).then_some(()).ok_or("the first one")
    })
    .await;
    // A key that does not match changes nothing.
    folder.write("key.pem", &pair().key);
    eventually(PATIENCE, "the mistake is reported", async || {
        let log = edge.process.stderr();
        log.contains("cannot load changed TLS certificates")
            .then_some(())
            .ok_or(log)
    })
    .await;
    connect(&edge, &authority).await;
}
