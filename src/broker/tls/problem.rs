//! Errors of TLS, each with a remedy.

use std::{fmt, io};

use lapin::ErrorKind;
use rustls::{AlertDescription, CertificateError, Error};

/// Names of the settings in messages.
pub(super) const CA: &str = "--tls-ca (AMQP_TLS_CA)";
pub(super) const CERT: &str = "--tls-cert (AMQP_TLS_CERT)";
pub(super) const KEY: &str = "--tls-key (AMQP_TLS_KEY)";

/// The reason that a TLS connection could not be established, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsProblem(String);

impl TlsProblem {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn other(reason: impl fmt::Display) -> Self {
        Self(format!("TLS failed: {reason}"))
    }

    fn no_tls() -> Self {
        Self::new(
            "the port does not use TLS: use RabbitMQ's TLS port, which is usually 5671, or amqp:// for \
             an unencrypted connection",
        )
    }

    /// The reason a TLS handshake failed; `None` if it did not start.
    pub(super) fn of_handshake(error: &lapin::Error) -> Option<Self> {
        let ErrorKind::IOError(io) = error.kind() else {
            return None;
        };
        let ended = io.kind() == io::ErrorKind::UnexpectedEof;
        Self::of_io(io).or_else(|| ended.then(Self::no_tls))
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
            Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => Self::no_tls(),
            other => Self::other(other),
        }
    }

    fn of_server(error: &CertificateError) -> Self {
        let wrong_name = |names: &str| {
            Self(format!(
                "RabbitMQ's certificate is not for the host in the address{names}: use a host name \
                 of the certificate, or issue one for this host"
            ))
        };
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::new(
                "RabbitMQ's certificate is not signed by a trusted authority: set --tls-ca \
                 (AMQP_TLS_CA) to the authority that signed it",
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::new(
                "RabbitMQ's certificate has expired: renew it, or correct this machine's clock",
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::new(
                    "RabbitMQ's certificate is not valid yet: check the clocks of both machines",
                )
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => {
                let (expected, presented) = (expected.to_str(), presented.join(", "));
                wrong_name(&format!(", {expected}, but for {presented}"))
            }
            CertificateError::NotValidForName => wrong_name(""),
            other => Self::other(format!("RabbitMQ's certificate: {other}")),
        }
    }

    /// The server's verdict on the client certificate.
    fn of_alert(alert: AlertDescription) -> Self {
        use AlertDescription as Alert;
        let reason = match alert {
            Alert::CertificateRequired | Alert::NoCertificate => {
                return Self(format!(
                    "RabbitMQ demands a client certificate: set {CERT} and {KEY}"
                ));
            }
            Alert::CertificateExpired => "it has expired; renew it",
            Alert::UnknownCA => "RabbitMQ does not trust the authority that signed it",
            Alert::CertificateRevoked => "it is revoked",
            Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
                "see RabbitMQ's log"
            }
            other => return Self::other(format!("RabbitMQ ended it with the alert {other:?}")),
        };
        Self(format!(
            "RabbitMQ does not accept the certificate in {CERT}: {reason}"
        ))
    }

    /// The error in the files of a connector.
    pub(super) fn unusable(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
        match tls {
            Some(Error::InconsistentKeys(_)) => Self(format!(
                "{CERT} and {KEY} do not match: the key belongs to another certificate"
            )),
            Some(error) => Self::other(error),
            None => Self::other(error),
        }
    }
}
