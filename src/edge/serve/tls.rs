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

use crate::edge::{
    FileProblems,
    reload::{self, Current, Files},
};

/// The certificate of the server and its key. Clones share them.
#[derive(Clone)]
pub struct Certificate {
    files: Arc<Pair<PathBuf>>,
    current: Current<ServerConfig>,
}

/// Both files, or their content.
#[derive(PartialEq)]
struct Pair<F> {
    certificate: F,
    key: F,
}

impl Pair<PathBuf> {
    fn read(&self) -> Result<Pair<Vec<u8>>, FileProblems> {
        Ok(Pair {
            certificate: reload::read(&self.certificate)?,
            key: reload::read(&self.key)?,
        })
    }

    fn config(&self, content: &Pair<Vec<u8>>) -> Result<ServerConfig, FileProblems> {
        let missing = |file: &Path, what| {
            FileProblems(vec![format!(
                "{} has no {what} in PEM form",
                file.display()
            )])
        };
        let chain = CertificateDer::pem_slice_iter(&content.certificate);
        let chain: Result<Vec<_>, _> = chain.collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| missing(&self.certificate, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&content.key);
        let key = key.map_err(|_| missing(&self.key, "key (not encrypted)"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |error| FileProblems::of("the certificate is not usable", error);
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
    /// [`FileProblems`] if a file cannot be used.
    pub fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, FileProblems> {
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
        let config = |content: &Pair<Vec<u8>>| self.files.config(content);
        reload::keep_current(Files::new("TLS certificates"), read, config, &self.current).await;
    }
}
