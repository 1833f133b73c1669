//! Errors of TLS, each with a remedy.

use std::{io, path::PathBuf};

use lapin::ErrorKind;
use rustls::{AlertDescription, CertificateError, Error};

use super::{CERT, KEY};

/// Why there is no secure connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// A file cannot be read.
    #[error("{setting}: cannot read {}: {reason}", file.display())]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// Which file.
        file: PathBuf,
        /// Why.
        reason: io::ErrorKind,
    },
    /// A file has no certificate in it.
    #[error("{setting}: {} has no certificate in PEM form", file.display())]
    NoCertificate {
        /// The setting that names it.
        setting: &'static str,
        /// Which file.
        file: PathBuf,
    },
    /// A file has no key in it that can be used.
    #[error(
        "{KEY}: {} has no key in PEM form{}",
        file.display(),
        if *encrypted { " that is not encrypted: take its passphrase away" } else { "" }
    )]
    NoKey {
        /// Which file.
        file: PathBuf,
        /// It has one with a passphrase.
        encrypted: bool,
    },
    /// The certificate and the key do not belong together.
    #[error("{CERT} and {KEY} do not belong together: the key is another certificate's")]
    OtherKey,
    /// There are no trusted authorities.
    #[error(
        "this system has no trusted authorities (package ca-certificates): give the one that \
         signed RabbitMQ's certificate with --tls-ca (AMQP_TLS_CA)"
    )]
    NoRoots,
    /// The issuer of the server's certificate is not trusted.
    #[error(
        "no authority that is trusted here has signed RabbitMQ's certificate: give the one that \
         did with --tls-ca (AMQP_TLS_CA)"
    )]
    UnknownIssuer,
    /// The server's certificate is too old.
    #[error(
        "RabbitMQ's certificate has expired: renew it there (or is this machine's clock wrong?)"
    )]
    Expired,
    /// The server's certificate is too new.
    #[error(
        "RabbitMQ's certificate is not valid yet: is this machine's clock wrong, or that one's?"
    )]
    NotYetValid,
    /// The server's certificate is for other hosts.
    #[error(
        "RabbitMQ's certificate is not for the host in the address{0}: use a name that it is for, \
         or have it issued for this one"
    )]
    WrongName(String),
    /// The server requires a client certificate.
    #[error("RabbitMQ demands a client certificate: give one with {CERT} and {KEY}")]
    NoClientCertificate,
    /// The server rejects our certificate.
    #[error("RabbitMQ does not accept the certificate in {CERT}: {0}")]
    ClientCertificate(&'static str),
    /// The server closed the connection after receiving our certificate.
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
    /// Something else.
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

    /// The server closed the connection without a word of AMQP, or with an alert.
    pub(super) fn is_hanging_up(error: &lapin::Error) -> bool {
        matches!(error.kind(), ErrorKind::IOError(_))
    }

    /// The TLS error in an I/O error, if there is one.
    pub(super) fn of_io(error: &io::Error) -> Option<Self> {
        let said = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
        said.map(Self::said)
    }

    fn said(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::of_server(error),
            Error::AlertReceived(alert) => Self::alerted(*alert),
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

    /// The server's verdict on our certificate.
    fn alerted(alert: AlertDescription) -> Self {
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
        let said = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
        match said {
            Some(Error::InconsistentKeys(_)) => Self::OtherKey,
            Some(error) => Self::Other(error.to_string()),
            None => Self::Other(error.to_string()),
        }
    }
}
