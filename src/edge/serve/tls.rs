//! The certificate of the server, read again when its files change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

/// Interval of reads of the files.
const READ_EVERY: Duration = Duration::from_secs(5);

/// A mistake in the files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        reason: io::ErrorKind,
    },
    /// A file has no certificate, or no key that is not encrypted.
    #[error("{} has no {what} in PEM form", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// A certificate or a key.
        what: &'static str,
    },
    /// The key does not belong to the certificate, or is not supported.
    #[error("the certificate is not usable: {0}")]
    Unusable(String),
}

/// The certificate of the server and its key. Clones share them.
#[derive(Clone)]
pub struct Certificate {
    files: Arc<Files>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// The content of both files.
#[derive(PartialEq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(&self) -> Result<Content, CertificateError> {
        let read = |file: &Path| {
            fs::read(file).map_err(|error| CertificateError::Unreadable {
                file: file.to_owned(),
                reason: error.kind(),
            })
        };
        Ok(Content {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    fn config(&self, content: &Content) -> Result<ServerConfig, CertificateError> {
        let missing = |file: &Path, what| CertificateError::Missing {
            file: file.to_owned(),
            what,
        };
        let chain = CertificateDer::pem_slice_iter(&content.certificate);
        let chain: Result<Vec<_>, _> = chain.collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| missing(&self.certificate, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&content.key);
        let key = key.map_err(|_| missing(&self.key, "key (not encrypted)"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |error: rustls::Error| CertificateError::Unusable(error.to_string());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Certificate {
    /// Reads a certificate chain and its key, both in PEM form.
    ///
    /// # Errors
    /// [`CertificateError`] if a file cannot be used.
    pub fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, CertificateError> {
        let files = Files { certificate, key };
        let config = files.config(&files.read()?)?;
        Ok(Self {
            files: Arc::new(files),
            current: Arc::new(RwLock::new(Arc::new(config))),
        })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Reads the files every 5 s, and uses a changed certificate for new connections. Never returns.
    pub(super) async fn keep_current(&self) {
        let mut last: Option<Result<Content, CertificateError>> = None;
        let mut tick = interval(READ_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let files = Arc::clone(&self.files);
            let read = tokio::task::spawn_blocking(move || files.read()).await;
            let Ok(read) = read else { continue };
            if last.as_ref() == Some(&read) {
                continue;
            }
            let config = read.as_ref().map_err(Clone::clone);
            match config.and_then(|content| self.files.config(content)) {
                Ok(config) => {
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    *current = Arc::new(config);
                    drop(current);
                    if last.is_some() {
                        tracing::info!("the changed TLS certificate is in use");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the TLS certificate has a mistake; the one before stays in use");
                }
            }
            last = Some(read);
        }
    }
}
