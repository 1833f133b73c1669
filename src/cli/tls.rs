//! The settings of TLS, for addresses that are `amqps://`.

use std::path::PathBuf;

use super::checked::Mistakes;
use crate::broker::{Addresses, Identity, Tls};

/// Whom to trust, and who we are.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// Certificates (PEM) of the authorities to trust with amqps://, instead of the system's
    #[arg(long, env = "AMQP_TLS_CA", global = true, value_name = "FILE")]
    tls_ca: Option<String>,
    /// Our certificate (PEM), for a RabbitMQ that asks for one; needs --tls-key
    #[arg(long, env = "AMQP_TLS_CERT", global = true, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Its key (PEM, not encrypted)
    #[arg(long, env = "AMQP_TLS_KEY", global = true, value_name = "FILE")]
    tls_key: Option<String>,
}

impl TlsArgs {
    /// The addresses, spoken to as these settings say; or notes. The files are read already here,
    /// so that a mistake is seen before anything starts.
    pub(super) fn check(
        &self,
        addresses: Option<Addresses>,
        mistakes: &mut Mistakes,
    ) -> Option<Addresses> {
        // An empty variable of the environment is none.
        let file = |it: &Option<String>| it.as_ref().filter(|f| !f.is_empty()).map(PathBuf::from);
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
            mistakes.note(
                "--tls-ca, --tls-cert, --tls-key: they do nothing where no address is amqps://",
            );
        }
        Some(addresses.with_tls(tls))
    }
}
