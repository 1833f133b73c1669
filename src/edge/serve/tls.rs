//! The certificate of the server, read again when its files change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use crate::edge::reload::{self, Current, FileError, Files};

/// A mistake in the files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] FileError),
    /// A file has no certificate, or no unencrypted key.
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
    files: Arc<Pair>,
    current: Current<ServerConfig>,
}

struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

/// The content of both files.
#[derive(PartialEq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn read(&self) -> Result<Content, CertificateError> {
        Ok(Content {
            certificate: reload::read(&self.certificate)?,
            key: reload::read(&self.key)?,
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
        let files = Pair { certificate, key };
        let config = files.config(&files.read()?)?;
        Ok(Self {
            files: Arc::new(files),
            current: Current::new(config),
        })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.get().into()
    }

    /// Reads the files every 5 s, and uses a changed certificate for new connections. Never returns.
    pub(super) async fn keep_current(&self) {
        let files = Arc::clone(&self.files);
        let read = move || files.read();
        let config = |content: &Content| self.files.config(content);
        reload::keep_current(Files::new("TLS certificates"), read, config, &self.current).await;
    }
}
