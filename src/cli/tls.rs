//! TLS settings, for `amqps://` addresses.

use std::path::PathBuf;

use super::{mistakes::Mistakes, setting::given};
use crate::broker::{Addresses, Identity, Tls};

/// Authorities to trust and the client's certificate.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// Certificates (PEM) of the authorities to trust with amqps://, instead of the system's
    #[arg(long, env = "AMQP_TLS_CA", global = true, value_name = "FILE")]
    tls_ca: Option<String>,
    /// The client certificate (PEM), for a RabbitMQ that requests one; needs --tls-key
    #[arg(long, env = "AMQP_TLS_CERT", global = true, value_name = "FILE")]
    tls_cert: Option<String>,
    /// The key of the client certificate (PEM, not encrypted)
    #[arg(long, env = "AMQP_TLS_KEY", global = true, value_name = "FILE")]
    tls_key: Option<String>,
}

impl TlsArgs {
    /// Returns the addresses with these settings, or notes the mistakes. Reads the files now, so
    /// that mistakes are reported before anything starts.
    pub(super) fn check(
        &self,
        addresses: Option<Addresses>,
        mistakes: &mut Mistakes,
    ) -> Option<Addresses> {
        let file = |it: &Option<String>| given(it).map(PathBuf::from);
        let identity = match (file(&self.tls_cert), file(&self.tls_key)) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (None, None) => None,
            _ => {
                mistakes.note(
                    "--tls-cert (AMQP_TLS_CERT) and --tls-key (AMQP_TLS_KEY): give both, or neither",
                );
                return addresses;
            }
        };
        let tls = Tls {
            ca: file(&self.tls_ca),
            identity,
        };
        let addresses = addresses?;
        if addresses.are_secure() {
            if let Err(problem) = tls.check() {
                mistakes.note(problem.to_string());
            }
        } else if !tls.is_default() {
            mistakes.note("--tls-ca, --tls-cert, --tls-key: they need an amqps:// address");
        }
        Some(addresses.with_tls(tls))
    }
}
