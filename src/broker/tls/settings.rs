//! TLS settings: authorities and the client certificate.

use std::path::{Path, PathBuf};

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};

use super::problem::{CA, CERT, KEY, TlsProblem};

/// TLS settings of `amqps://` addresses. By default, the system's authorities are trusted and no
/// client certificate is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file with the certificates of the only trusted authorities. The system's are trusted
    /// if it is `None`.
    pub ca: Option<PathBuf>,
    /// The certificate for servers that request one.
    pub identity: Option<Identity>,
}

/// A client certificate and its key. With `?auth_mechanism=external` in the address, it replaces
/// the user and the password too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A PEM file with the certificate, and the intermediate certificates up to its authority.
    pub certificate: PathBuf,
    /// A PEM file with the unencrypted key.
    pub key: PathBuf,
}

impl Tls {
    /// Returns whether no setting is set.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.ca.is_none() && self.identity.is_none()
    }

    /// Reads the files, as each connection does.
    ///
    /// # Errors
    /// If a file cannot be read or used, or if there are no authorities.
    pub fn check(&self) -> Result<(), TlsProblem> {
        self.read().map(drop)
    }

    /// Reads the files, on a blocking thread.
    pub(super) async fn connector(&self) -> Result<RustlsConnector, TlsProblem> {
        let tls = self.clone();
        tokio::task::spawn_blocking(move || tls.read())
            .await
            .map_err(|error| TlsProblem::Other(error.to_string()))?
    }

    fn read(&self) -> Result<RustlsConnector, TlsProblem> {
        let trusted =
            match &self.ca {
                Some(file) => RustlsConnectorConfig::default()
                    .with_parsable_certificates(certificates(CA, file)?),
                None => RustlsConnectorConfig::new_with_native_certs()
                    .map_err(|_| TlsProblem::NoRoots)?,
            };
        let built = match &self.identity {
            None => trusted.connector_with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = certificates(CERT, certificate)?;
                trusted.connector_with_single_cert(chain, private_key(key)?)
            }
        };
        built.map_err(|error| TlsProblem::unusable(&error))
    }
}

fn certificates(
    setting: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let bytes = bytes(setting, file)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if found.is_empty() {
        return Err(TlsProblem::NoCertificate {
            setting,
            file: file.to_owned(),
        });
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsProblem> {
    let bytes = bytes(KEY, file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| TlsProblem::NoKey {
        file: file.to_owned(),
        encrypted: matches!(error, pem::Error::NoItemsFound)
            && bytes.windows(9).any(|part| part == b"ENCRYPTED"),
    })
}

fn bytes(setting: &'static str, file: &Path) -> Result<Vec<u8>, TlsProblem> {
    std::fs::read(file).map_err(|error| TlsProblem::Unreadable {
        setting,
        file: file.to_owned(),
        reason: error.kind(),
    })
}
