//! The settings of the broker from flags and the environment.

use std::path::Path;

use super::{mistakes::Mistakes, tls::TlsArgs};
use crate::broker::{Addresses, MQTT_EXCHANGE, Names};

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
    pub amqp_url: Option<String>,
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

impl BrokerArgs {
    /// Returns the addresses and the names, or notes the mistakes.
    pub fn check(&self, mistakes: &mut Mistakes) -> Option<(Addresses, Names)> {
        let addresses = self.addresses(mistakes);
        addresses.zip(self.names(mistakes))
    }

    /// Returns the names, or notes a mistake.
    pub fn names(&self, mistakes: &mut Mistakes) -> Option<Names> {
        let names = Names::new(&self.namespace)
            .map_err(|e| mistakes.note(format!("--namespace (STREAMWATCH_NAMESPACE): {e}")))
            .ok()?;
        names
            .with_mqtt_exchange(&self.mqtt_exchange)
            .map_err(|e| mistakes.note(format!("--mqtt-exchange (STREAMWATCH_MQTT_EXCHANGE): {e}")))
            .ok()
    }

    /// Returns the addresses, if given, or notes the mistakes.
    pub fn addresses_if_given(&self, mistakes: &mut Mistakes) -> Option<Addresses> {
        let given = |it: &Option<String>| it.as_ref().is_some_and(|it| !it.is_empty());
        let any = given(&self.amqp_url) || given(&self.amqp_url_file);
        any.then(|| self.addresses(mistakes)).flatten()
    }

    /// Returns the addresses, or notes the mistakes.
    pub fn addresses(&self, mistakes: &mut Mistakes) -> Option<Addresses> {
        let addresses = self.listed(mistakes);
        self.tls.check(addresses, mistakes)
    }

    fn listed(&self, mistakes: &mut Mistakes) -> Option<Addresses> {
        let given = self.amqp_url.as_deref().filter(|url| !url.is_empty());
        let file = self.amqp_url_file.as_deref().filter(|f| !f.is_empty());
        match (given, file) {
            (Some(_), Some(_)) => {
                mistakes.note("give AMQP_URL or AMQP_URL_FILE, not both");
                None
            }
            (Some(url), None) => mistakes.check("--amqp-url (AMQP_URL)", url),
            (None, Some(file)) => match std::fs::read_to_string(Path::new(file)) {
                Ok(url) => mistakes.check("--amqp-url-file (AMQP_URL_FILE)", &url),
                Err(error) => {
                    mistakes.note(format!(
                        "--amqp-url-file (AMQP_URL_FILE): cannot read it: {error}"
                    ));
                    None
                }
            },
            (None, None) => {
                mistakes.note(
                    "AMQP_URL is not set: set it to the address of RabbitMQ, such as \
                     amqp://user:password@host:5672/%2f",
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_reported_together_and_quote_no_password() {
        let args = BrokerArgs {
            amqp_url: Some("http://u:s3cret@host".to_owned()),
            amqp_url_file: None,
            namespace: "a b".to_owned(),
            mqtt_exchange: MQTT_EXCHANGE.to_owned(),
            tls: TlsArgs::default(),
        };
        let mut mistakes = Mistakes::default();
        let broker = args.check(&mut mistakes);
        mistakes.duration("--ttl", "90");
        let error = mistakes.finish(broker).unwrap_err().lines().join("\n");
        assert!(error.starts_with("3 settings are wrong:"), "{error}");
        assert!(
            error.contains("AMQP_URL") && error.contains("--ttl"),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
}
