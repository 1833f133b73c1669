//! The settings of the broker from flags and the environment.

use super::{
    mistakes::Mistakes,
    setting::{Setting, given},
    tls::TlsArgs,
};
use crate::{
    broker::{Addresses, BrokerError, Connection, MQTT_EXCHANGE, Names, topology},
    client::Client,
};

/// RabbitMQ's address and the names of exchanges and queues.
#[derive(clap::Args, Clone, Debug)]
pub struct BrokerArgs {
    /// RabbitMQ's address, or several of one cluster separated by commas, such as
    /// amqp://user:password@host:5672/%2f
    #[arg(
        long,
        env = "AMQP_URL",
        hide_env_values = true,
        global = true,
        value_name = "URL"
    )]
    pub amqp_url: Option<Setting<Addresses>>,
    /// A file that contains the address
    #[arg(long, env = "AMQP_URL_FILE", global = true, value_name = "FILE")]
    pub amqp_url_file: Option<String>,
    /// Prefix of every exchange and queue, such as staging-
    #[arg(long, env = "STREAMWATCH_NAMESPACE", global = true, default_value = "")]
    pub namespace: String,
    /// The topic exchange of RabbitMQ's MQTT plugin
    #[arg(
        long,
        env = "STREAMWATCH_MQTT_EXCHANGE",
        global = true,
        default_value = MQTT_EXCHANGE,
        value_name = "NAME"
    )]
    pub mqtt_exchange: String,
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// One installation on one RabbitMQ.
#[derive(Clone, Debug)]
pub struct Installation {
    pub addresses: Addresses,
    pub names: Names,
}

impl Installation {
    /// Connects as `name`, as RabbitMQ lists it.
    pub async fn connect(&self, name: &str) -> Result<Connection, BrokerError> {
        Connection::open_any(&self.addresses, name).await
    }

    /// Counts the partitions; `None` if there is no topology.
    pub async fn partitions(&self, name: &str) -> Result<Option<u16>, BrokerError> {
        let connection = self.connect(name).await?;
        let counted = topology::partitions(&connection, &self.names).await;
        connection.close().await;
        counted
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addresses.clone(), self.names.clone())
    }
}

impl BrokerArgs {
    /// Returns the installation, or notes the mistakes.
    pub fn check(&self, mistakes: &mut Mistakes) -> Option<Installation> {
        let addresses = self.addresses(mistakes);
        let names = self.names(mistakes)?;
        Some(Installation {
            addresses: addresses?,
            names,
        })
    }

    pub fn names(&self, mistakes: &mut Mistakes) -> Option<Names> {
        let names = Names::new(&self.namespace);
        let names = mistakes.check("--namespace (STREAMWATCH_NAMESPACE)", names)?;
        let names = names.with_mqtt_exchange(&self.mqtt_exchange);
        mistakes.check("--mqtt-exchange (STREAMWATCH_MQTT_EXCHANGE)", names)
    }

    /// Returns the addresses, if given, or notes the mistakes.
    pub fn addresses_if_given(&self, mistakes: &mut Mistakes) -> Option<Addresses> {
        let is_given = self.url().is_some() || given(&self.amqp_url_file).is_some();
        is_given.then(|| self.addresses(mistakes)).flatten()
    }

    fn url(&self) -> Option<&Setting<Addresses>> {
        self.amqp_url.as_ref().filter(|url| url.is_given())
    }

    pub fn addresses(&self, mistakes: &mut Mistakes) -> Option<Addresses> {
        let addresses = self.listed(mistakes);
        self.tls.check(addresses, mistakes)
    }

    fn listed(&self, mistakes: &mut Mistakes) -> Option<Addresses> {
        match (self.url(), given(&self.amqp_url_file)) {
            (Some(_), Some(_)) => mistakes.reject("give AMQP_URL or AMQP_URL_FILE, not both"),
            (Some(url), None) => mistakes.take(url),
            (None, Some(file)) => {
                let name = "--amqp-url-file (AMQP_URL_FILE)";
                let read = std::fs::read_to_string(file);
                let read = read.map_err(|error| format!("cannot read it: {error}"));
                let url = mistakes.check(name, read)?;
                mistakes.check(name, url.trim().parse())
            }
            (None, None) => mistakes.reject(
                "AMQP_URL is not set: set it to the address of RabbitMQ, such as \
                 amqp://user:password@host:5672/%2f",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        broker: BrokerArgs,
        #[arg(long, env = "STREAMWATCH_TTL_OF_A_TEST")]
        ttl: Setting<Duration>,
    }

    #[test]
    fn all_mistakes_are_reported_together_and_quote_no_password() {
        let words = "x --amqp-url http://u:s3cret@host --ttl 90 --namespace a/b".split(' ');
        let line = Line::try_parse_from(words).unwrap();
        let mut mistakes = Mistakes::default();
        let broker = line.broker.check(&mut mistakes);
        assert_eq!(mistakes.take(&line.ttl), None);
        let error = mistakes.finish(broker).unwrap_err().lines().join("\n");
        assert!(error.starts_with("3 settings are wrong:"), "{error}");
        assert!(
            error.contains("--amqp-url (AMQP_URL): ") && error.contains("--ttl (STREAMWATCH_TTL"),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
}
