//! Settings from flags and the environment. All are checked before anything starts, and all
//! mistakes are reported together.

use std::{fmt, net::SocketAddr, path::Path, str::FromStr, time::Duration};

use super::tls::TlsArgs;
use crate::broker::{Addresses, MQTT_EXCHANGE, Names};

/// Invalid settings, each with the expected form. Values are not quoted, because one may be a
/// password.
#[derive(Debug, Default, thiserror::Error)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plural, verb) = if self.0.len() == 1 {
            ("", "is")
        } else {
            ("s", "are")
        };
        write!(f, "{} setting{plural} {verb} wrong:", self.0.len())
    }
}

impl Mistakes {
    /// Formats all mistakes, one per line.
    pub fn lines(&self) -> Vec<String> {
        let each = self.0.iter().map(|mistake| format!("  {mistake}"));
        std::iter::once(self.to_string()).chain(each).collect()
    }

    /// Notes a mistake.
    pub fn note(&mut self, mistake: impl Into<String>) {
        self.0.push(mistake.into());
    }

    /// Returns the value of setting `name`, or notes a mistake.
    pub fn check<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(format!("{name}: {error}"));
                None
            }
        }
    }

    /// Returns the value of an optional setting, or notes a mistake.
    pub fn check_if<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &str,
        text: Option<&str>,
    ) -> Option<T> {
        self.check(name, text?)
    }

    /// Returns a duration in milliseconds. The text needs a unit.
    pub fn duration(&mut self, name: &str, text: &str) -> Option<Duration> {
        match humantime::parse_duration(text.trim()) {
            Ok(duration) => Some(duration),
            Err(_) => {
                self.note(format!(
                    "{name}: a duration with its unit, such as 90s or 1m30s"
                ));
                None
            }
        }
    }

    /// Returns an optional duration in milliseconds.
    pub fn duration_if(&mut self, name: &str, text: Option<&str>) -> Option<Duration> {
        self.duration(name, text?)
    }

    /// A number between 0 and 1.
    #[cfg(feature = "play")]
    pub fn rate(&mut self, name: &str, text: &str) -> Option<f64> {
        match text.trim().parse() {
            Ok(rate) if (0.0..=1.0).contains(&rate) => Some(rate),
            _ => {
                self.note(format!("{name}: a number from 0 to 1"));
                None
            }
        }
    }

    /// An address to listen on.
    pub fn address(&mut self, name: &str, text: Option<&str>) -> Option<SocketAddr> {
        match text?.trim().parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.note(format!(
                    "{name}: an address and a port, such as 127.0.0.1:9419"
                ));
                None
            }
        }
    }

    /// Returns `value` if no mistake was noted.
    ///
    /// # Errors
    /// The noted mistakes.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

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
                    "AMQP_URL is not set: where is RabbitMQ? For example \
                     AMQP_URL=amqp://user:password@host:5672/%2f",
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
