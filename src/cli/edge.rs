//! `streamwatch edge`

mod limits;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum::http::HeaderValue;

use super::{
    arguments::{BrokerArgs, Installation},
    mistakes::Mistakes,
    setting::{Setting, given},
    signals::stop_signal,
};
use crate::{
    client::Tenant,
    edge::{
        Access, PolicyFile,
        serve::{self, Certificate, Config},
    },
};
use limits::LimitArgs;

/// Serve HTTP for players that cannot use AMQP, until SIGTERM or Ctrl-C
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Serve the API here, such as 0.0.0.0:8443
    #[arg(long, env = "STREAMWATCH_EDGE_HTTP", value_name = "ADDRESS:PORT")]
    http: Option<Setting<SocketAddr>>,
    /// Serve /healthz, /readyz and /metrics here, such as 127.0.0.1:9420
    #[arg(long, env = "STREAMWATCH_EDGE_ADMIN", value_name = "ADDRESS:PORT")]
    admin: Option<Setting<SocketAddr>>,
    /// The access file, in TOML: the callers and their credentials (deploy/EDGE.md describes it). It
    /// is read again when it changes
    #[arg(long, env = "STREAMWATCH_EDGE_ACCESS", value_name = "FILE")]
    access: Option<String>,
    /// Instead of --access: let each client reach all accounts of this tenant. Only with a loopback
    /// address
    #[arg(long, value_name = "TENANT")]
    insecure_no_auth: Option<Setting<Tenant>>,
    /// The policy file, in TOML, of applications that use the API of Adobe's Concurrency
    /// Monitoring (tests/clients/FROM-ADOBE.md describes it). It is read again when it changes
    /// [default: that API is not served]
    #[arg(long, env = "STREAMWATCH_EDGE_POLICIES", value_name = "FILE")]
    policies: Option<String>,
    /// The certificate chain (PEM) for HTTPS; needs --https-key. Without it, plain HTTP behind a
    /// proxy that ends TLS. It is read again when it changes
    #[arg(long, env = "STREAMWATCH_EDGE_HTTPS_CERT", value_name = "FILE")]
    https_cert: Option<String>,
    /// The key of the certificate (PEM, not encrypted)
    #[arg(long, env = "STREAMWATCH_EDGE_HTTPS_KEY", value_name = "FILE")]
    https_key: Option<String>,
    /// Origins of web pages that may call, separated by commas, such as https://www.example.com;
    /// * for all [default: none]
    #[arg(long, env = "STREAMWATCH_EDGE_CORS_ORIGIN", value_name = "LIST")]
    cors_origin: Option<String>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Time after the signal to shut down in which new connections are still accepted, while /readyz is
    /// not ready and each response ends its connection; shorter than --grace
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_DRAIN",
        default_value = "0s",
        value_name = "DURATION"
    )]
    drain: Setting<Duration>,
    /// Time limit of a shutdown, from the signal to the end of the process
    #[arg(long, env = "STREAMWATCH_GRACE", default_value = "10s")]
    grace: Setting<Duration>,
}

impl Args {
    pub(super) async fn run(self, broker: &BrokerArgs) -> anyhow::Result<()> {
        let mut mistakes = Mistakes::default();
        let installation = broker.check(&mut mistakes);
        let config = self.check(installation, &mut mistakes);
        let config = mistakes.finish(config)?;
        Ok(serve::run(config, stop_signal()?).await?)
    }

    fn check(&self, at: Option<Installation>, mistakes: &mut Mistakes) -> Option<Config> {
        if self.http.as_ref().is_none_or(|http| !http.is_given()) {
            mistakes.note(
                "--http (STREAMWATCH_EDGE_HTTP): the address to serve on, such as 0.0.0.0:8443",
            );
        }
        let http = mistakes.take(&self.http);
        let admin = mistakes.take(&self.admin);
        let access = self.access(http, mistakes);
        let policies = self.policies(mistakes);
        let certificate = self.certificate(mistakes);
        let limits = self.limits.limits(mistakes);
        let bounds = self.limits.bounds(mistakes);
        let origins = self.origins(mistakes);
        let grace = mistakes.take(&self.grace);
        let drain = mistakes.take(&self.drain);
        if let Some((drain, grace)) = drain.zip(grace)
            && !drain.is_zero()
            && drain >= grace
        {
            mistakes.note("--drain (STREAMWATCH_EDGE_DRAIN): shorter than --grace");
        }
        let Installation { addresses, names } = at?;
        Some(Config {
            addresses,
            names,
            http: http?,
            admin,
            access: access?,
            policies,
            certificate,
            limits,
            bounds: bounds?,
            origins,
            drain: drain?,
            grace: grace?,
        })
    }

    fn policies(&self, mistakes: &mut Mistakes) -> Option<PolicyFile> {
        let read = PolicyFile::read(given(&self.policies)?.into());
        let note =
            |problem| mistakes.note(format!("--policies (STREAMWATCH_EDGE_POLICIES): {problem}"));
        read.map_err(|problems| problems.0.into_iter().for_each(note))
            .ok()
    }

    fn access(&self, http: Option<SocketAddr>, mistakes: &mut Mistakes) -> Option<Access> {
        let name = "--access (STREAMWATCH_EDGE_ACCESS)";
        match (given(&self.access), &self.insecure_no_auth) {
            (Some(_), Some(_)) => {
                mistakes.reject(format!("give {name} or --insecure-no-auth, not both"))
            }
            (None, None) => mistakes.reject(format!(
                "{name}: the access file, which deploy/EDGE.md describes"
            )),
            (Some(file), None) => mistakes.check(name, Access::from_file(&PathBuf::from(file))),
            (None, Some(tenant)) => {
                if http.is_some_and(|http| !http.ip().is_loopback()) {
                    return mistakes.reject(
                        "--insecure-no-auth: each client could reach all accounts; it needs a \
                         loopback address, such as --http 127.0.0.1:8080",
                    );
                }
                mistakes.take(tenant).map(Access::open_to_all)
            }
        }
    }

    fn certificate(&self, mistakes: &mut Mistakes) -> Option<Certificate> {
        match (given(&self.https_cert), given(&self.https_key)) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                let read = Certificate::read(certificate.into(), key.into());
                mistakes.check("--https-cert, --https-key", read)
            }
            _ => mistakes.reject(
                "--https-cert (STREAMWATCH_EDGE_HTTPS_CERT) and --https-key \
                 (STREAMWATCH_EDGE_HTTPS_KEY): give both, or neither",
            ),
        }
    }

    fn origins(&self, mistakes: &mut Mistakes) -> Vec<HeaderValue> {
        let list = given(&self.cors_origin).unwrap_or_default();
        let each = list.split(',').map(str::trim).filter(|one| !one.is_empty());
        let origins = each.filter_map(|one| mistakes.check("--cors-origin", serve::origin(one)));
        origins.collect()
    }
}
