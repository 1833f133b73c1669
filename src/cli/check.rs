//! `streamwatch check`: diagnoses an installation and suggests what to do.

mod consumers;
mod findings;
mod leaders;
mod partitions;

use std::{process::ExitCode, time::Duration};

use super::{
    arguments::{BrokerArgs, Installation},
    mistakes::Mistakes,
    output::{Output, duration_ms},
    setting::Setting,
};
use crate::{
    broker::{
        Connection, Greeting, greeting,
        topology::{self, QueueState},
    },
    client::{AccountId, Backend, ClientError, Consistency, StatusQuery, Tenant},
};
use findings::Findings;

/// The oldest supported version of RabbitMQ.
const OLDEST: (u32, u32) = (3, 10);
/// The name of its connections.
const CONNECTION: &str = "streamwatch check";
/// Time to wait for a reply.
const PATIENCE: Duration = Duration::from_secs(3);
/// A tenant and an account that no player uses.
const TENANT: &str = "streamwatch-check";
const ACCOUNT: &str = "nobody";

/// Check settings, RabbitMQ, topology, logs, leaders, workers and clocks
///
/// Prints a line for each, and what to do if something is wrong. Changes no state: it appends
/// markers to the logs, as workers do, and sends one status request. Exits with 1 if anything is
/// wrong.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Time to read the ticks of workers in the logs
    #[arg(long, default_value = "3s", value_name = "DURATION")]
    watch: Setting<Duration>,
}

impl Args {
    pub(super) async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<ExitCode> {
        let mut mistakes = Mistakes::default();
        let installation = broker.check(&mut mistakes);
        let watched = mistakes.take(&self.watch);
        let (installation, watched) = mistakes.finish(installation.zip(watched))?;
        let mut findings = Findings::new(output);
        installation.check(watched, &mut findings).await;
        Ok(findings.finish())
    }
}

impl Installation {
    /// Runs the checks in order, until one fails that the next ones need.
    async fn check(&self, watched: Duration, findings: &mut Findings) {
        let brokers = self.brokers(findings).await;
        let connection = match self.connect(CONNECTION).await {
            Ok(connection) => connection,
            Err(error) => return findings.fail_with("access", error),
        };
        findings.ok("access", format!("logged in at {}", connection.address()));
        let (partitions, queues) = match self.topology(&connection, findings).await {
            Ok(found) => found,
            Err(error) => return findings.fail_with("topology", error),
        };
        connection.close().await;
        hashing(&brokers, partitions, findings);
        let seen = partitions::check_partitions(self, partitions, watched, findings);
        consumers::check_consumers(&self.names, &queues, &seen.await, findings);
        self.answer(findings).await;
    }

    /// Checks every address of the list, not only the first reachable one.
    async fn brokers(&self, findings: &mut Findings) -> Vec<Greeting> {
        let mut brokers = Vec::new();
        for n in 0..self.addresses.len() {
            match greeting(&self.addresses, n).await {
                Ok(broker) => {
                    let message = format!(
                        "{} {} at {}",
                        broker.product, broker.version, broker.address
                    );
                    let (major, minor, _) = broker.numbers();
                    if broker.product != "RabbitMQ" {
                        findings.warn(
                            "broker",
                            message,
                            "streamwatch is tested with RabbitMQ alone",
                        );
                    } else if (major, minor) < OLDEST {
                        findings.fail("broker", message, "use RabbitMQ 3.10 or later");
                    } else {
                        findings.ok("broker", message);
                    }
                    brokers.push(broker);
                }
                Err(error) => findings.fail_with("broker", error),
            }
        }
        let mut versions: Vec<_> = brokers.iter().map(Greeting::numbers).collect();
        versions.dedup();
        if versions.len() > 1 {
            findings.warn(
                "broker",
                "the nodes have different versions",
                "finish the upgrade; from 3.12 to 3.13 see deploy/UPGRADE.md (Upgrade RabbitMQ)",
            );
        }
        brokers
    }

    async fn topology(
        &self,
        connection: &Connection,
        findings: &mut Findings,
    ) -> anyhow::Result<(u16, Vec<QueueState>)> {
        let partitions = topology::partitions(connection, &self.names).await?;
        let partitions = partitions.ok_or(ClientError::NoTopology)?;
        let queues = topology::show(connection, &self.names, partitions).await?;
        let mut missing = topology::missing_exchanges(connection, &self.names, partitions).await?;
        let lost = queues.iter().filter(|queue| queue.messages.is_none());
        missing.extend(lost.map(|queue| queue.name.clone()));
        if missing.is_empty() {
            findings.ok(
                "topology",
                format!("{partitions} partition(s), nothing missing"),
            );
        } else {
            let missing = format!("missing: {}", missing.join(", "));
            findings.fail(
                "topology",
                missing,
                "run `streamwatch topology declare` again",
            );
        }
        Ok((partitions, queues))
    }

    /// Sends a request and waits for its reply.
    async fn answer(&self, findings: &mut Findings) {
        let backend = Backend::new(self.client()).with_patience(PATIENCE);
        let (Ok(tenant), Ok(account)) = (Tenant::new(TENANT), AccountId::new(ACCOUNT)) else {
            return;
        };
        let question = StatusQuery {
            consistency: Consistency::Strong,
            ..StatusQuery::default()
        };
        let sent_at = tokio::time::Instant::now();
        match backend.status(&tenant, &account, &question).await {
            Ok(_) => {
                let took = duration_ms(sent_at.elapsed().as_millis().try_into().unwrap_or(0));
                findings.ok(
                    "answers",
                    format!("a status request was answered in {took}"),
                );
            }
            Err(error @ ClientError::NoAnswer(_)) => findings.fail(
                "answers",
                error.to_string(),
                "look at /readyz of the workers, and at the bindings of the exchange: `streamwatch \
                 topology declare` repairs them",
            ),
            Err(error) => findings.fail_with("answers", error),
        }
    }
}

/// Checks the hash of the consistent-hash exchange, which differs between versions.
fn hashing(brokers: &[Greeting], partitions: u16, findings: &mut Findings) {
    let fails = |version| ((3, 13, 0)..(3, 13, 7)).contains(&version);
    if partitions > 1 && brokers.iter().any(|broker| fails(broker.numbers())) {
        findings.fail(
            "hashing",
            "RabbitMQ 3.13.0 to 3.13.6 can refuse messages without the header `account`",
            "upgrade to 3.13.7 or later",
        );
    }
}
