//! Errors of TLS, each with a remedy.

use std::{io, path::PathBuf};

use lapin::ErrorKind;
use rustls::{AlertDescription, CertificateError, Error};

/// Names of the settings in messages.
pub(super) const CA: &str = "--tls-ca (AMQP_TLS_CA)";
pub(super) const CERT: &str = "--tls-cert (AMQP_TLS_CERT)";
pub(super) const KEY: &str = "--tls-key (AMQP_TLS_KEY)";

/// The reason that a TLS connection could not be established.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// A file cannot be read.
    #[error("{setting}: cannot read {}: {reason}", file.display())]
    Unreadable {
        /// The setting with the file's path.
        setting: &'static str,
        /// The path.
        file: PathBuf,
        /// The cause.
        reason: io::ErrorKind,
    },
    /// A file contains no certificate.
    #[error("{setting}: {} has no certificate in PEM form", file.display())]
    NoCertificate {
        /// The setting with the file's path.
        setting: &'static str,
        /// The path.
        file: PathBuf,
    },
    /// A file contains no usable key.
    #[error(
        "{KEY}: {} has no key in PEM form{}",
        file.display(),
        if *encrypted { " that is not encrypted: remove its passphrase" } else { "" }
    )]
    NoKey {
        /// The path.
        file: PathBuf,
        /// Whether the file contains an encrypted key.
        encrypted: bool,
    },
    /// The certificate and the key do not match.
    #[error("{CERT} and {KEY} do not match: the key belongs to another certificate")]
    OtherKey,
    /// There are no trusted authorities.
    #[error(
        "this system has no trusted authorities (package ca-certificates): set --tls-ca \
         (AMQP_TLS_CA) to the authority that signed RabbitMQ's certificate"
    )]
    NoRoots,
    /// The issuer of the server's certificate is not trusted.
    #[error(
        "RabbitMQ's certificate is not signed by a trusted authority: set --tls-ca (AMQP_TLS_CA) \
         to the authority that signed it"
    )]
    UnknownIssuer,
    /// The server's certificate has expired.
    #[error("RabbitMQ's certificate has expired: renew it, or correct this machine's clock")]
    Expired,
    /// The server's certificate is not valid yet.
    #[error("RabbitMQ's certificate is not valid yet: check the clocks of both machines")]
    NotYetValid,
    /// The server's certificate is for other hosts.
    #[error(
        "RabbitMQ's certificate is not for the host in the address{0}: use a host name of the \
         certificate, or issue one for this host"
    )]
    WrongName(String),
    /// The server requires a client certificate.
    #[error("RabbitMQ demands a client certificate: set {CERT} and {KEY}")]
    NoClientCertificate,
    /// The server rejects the client certificate.
    #[error("RabbitMQ does not accept the certificate in {CERT}: {0}")]
    ClientCertificate(&'static str),
    /// The server closed the connection after the handshake, without a reason.
    #[error(
        "RabbitMQ closed the connection right after the TLS handshake: it may demand a client \
         certificate, or reject the one in {CERT}; see its log"
    )]
    ClosedAfterHandshake,
    /// The port does not use TLS.
    #[error(
        "the port does not use TLS: use RabbitMQ's TLS port, which is usually 5671, or amqp:// for \
         an unencrypted connection"
    )]
    NotTls,
    /// The port requires TLS.
    #[error("the port does not use plain AMQP: if it is RabbitMQ's TLS port, use amqps://")]
    OnlyTls,
    /// Another TLS error.
    #[error("TLS failed: {0}")]
    Other(String),
}

impl TlsProblem {
    /// The reason a TLS handshake failed; `None` if it did not start.
    pub(super) fn of_handshake(error: &lapin::Error) -> Option<Self> {
        let ErrorKind::IOError(io) = error.kind() else {
            return None;
        };
        let ended = io.kind() == io::ErrorKind::UnexpectedEof;
        Self::of_io(io).or(ended.then_some(Self::NotTls))
    }

    /// Returns whether the server closed the connection, with an alert or before any AMQP frame.
    pub(super) fn is_closed_by_server(error: &lapin::Error) -> bool {
        matches!(error.kind(), ErrorKind::IOError(_))
    }

    /// The TLS error in an I/O error, if there is one.
    pub(super) fn of_io(error: &io::Error) -> Option<Self> {
        let tls = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
        tls.map(Self::of_tls)
    }

    fn of_tls(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::of_server(error),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => Self::NotTls,
            other => Self::Other(other.to_string()),
        }
    }

    fn of_server(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => {
                let (expected, presented) = (expected.to_str(), presented.join(", "));
                Self::WrongName(format!(", {expected}, but for {presented}"))
            }
            CertificateError::NotValidForName => Self::WrongName(String::new()),
            other => Self::Other(format!("RabbitMQ's certificate: {other}")),
        }
    }

    /// The server's verdict on the client certificate.
    fn of_alert(alert: AlertDescription) -> Self {
        use AlertDescription as Alert;
        Self::ClientCertificate(match alert {
            Alert::CertificateRequired | Alert::NoCertificate => return Self::NoClientCertificate,
            Alert::CertificateExpired => "it has expired; renew it",
            Alert::UnknownCA => "RabbitMQ does not trust the authority that signed it",
            Alert::CertificateRevoked => "it is revoked",
            Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
                "see RabbitMQ's log"
            }
            other => return Self::Other(format!("RabbitMQ ended it with the alert {other:?}")),
        })
    }

    /// The error in the files of a connector.
    pub(super) fn unusable(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
        match tls {
            Some(Error::InconsistentKeys(_)) => Self::OtherKey,
            Some(error) => Self::Other(error.to_string()),
            None => Self::Other(error.to_string()),
        }
    }
}
