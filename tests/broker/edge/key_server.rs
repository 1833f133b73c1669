//! A server of keys of tokens.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::fixture::{Authority, Valid};

/// The response of a server of keys; without one, it never responds.
type Reply = Option<Vec<u8>>;

/// An https server of `localhost` that serves what a test states for each path.
pub struct KeyServer {
    pub port: u16,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    _tasks: JoinSet<()>,
}

impl KeyServer {
    pub async fn start(authority: &Authority) -> Self {
        let pair = authority.server(&["localhost"], Valid::Now);
        let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let replies = Arc::<Mutex<HashMap<String, Reply>>>::default();
        let mut tasks = JoinSet::new();
        let served = Arc::clone(&replies);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(answer(acceptor.clone(), stream, Arc::clone(&served)));
            }
        });
        Self {
            port,
            replies,
            _tasks: tasks,
        }
    }

    pub fn set(&self, path: &str, reply: Reply) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.insert(path.to_owned(), reply);
    }

    /// Serves a key set, with some padding.
    pub fn serve(&self, path: &str, keys: &[Value], padding: usize) {
        let body = json!({"keys": keys, "padding": "x".repeat(padding)}).to_string();
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        self.set(path, Some((head + &body).into_bytes()));
    }

    /// Responds with this status and these headers.
    pub fn fail(&self, path: &str, head: &str) {
        let reply = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n");
        self.set(path, Some(reply.into_bytes()));
    }
}

async fn answer(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
) {
    // A client that does not trust the certificate ends the handshake.
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let reply = {
        let replies = replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.get(path).cloned()
    };
    match reply {
        Some(Some(reply)) => {
            // The client may have had enough.
            let _ = stream.write_all(&reply).await;
            let _ = stream.shutdown().await;
        }
        Some(None) => std::future::pending().await,
        None => panic!("nothing at {path}"),
    }
}
