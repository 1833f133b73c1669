//! Addresses of RabbitMQ: one URL, or several separated by commas.

use std::{fmt, str::FromStr};

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};

use super::Tls;
use crate::wire;

/// AMQP heartbeats, in seconds, if the URL sets none: a dead peer is detected within twice that.
const HEARTBEAT_S: u16 = 10;
/// The largest frame, in bytes, if the URL sets none. It bounds the properties of a message; bodies
/// are split. lapin allocates 64 frames for each connection and writes zeros into them: 2 MiB,
/// instead of 8 MiB with RabbitMQ's default of 128 KiB.
const FRAME_MAX: u32 = 32 * 1024;
/// The largest body of a message, in bytes: that of a reply. Larger ones are cut off.
const LARGEST_BODY: usize = wire::MAX_REPLY_BYTES;

/// The reason a list of addresses is invalid. The list is not quoted, as it contains passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The list is empty.
    #[error(
        "give at least one address, such as amqp://user:password@host:5672/%2f (a virtual host's \
         slash is %2f)"
    )]
    Empty,
    /// The address with this number, from 1, is not a URL of the scheme `amqp` or `amqps`.
    #[error(
        "address {0} of the list is not an amqp:// or amqps:// URL; a password's special \
         characters, commas among them, must be percent-encoded"
    )]
    Invalid(usize),
}

/// The addresses of a RabbitMQ cluster's nodes, tried in turn, and their TLS settings.
#[derive(Clone)]
pub struct Addresses {
    uris: Vec<AMQPUri>,
    tls: Tls,
    largest_body: usize,
}

impl Addresses {
    /// The number of addresses, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub const fn len(&self) -> usize {
        self.uris.len()
    }

    /// Sets the TLS settings of the `amqps://` addresses.
    ///
    /// ```
    /// use streamwatch::client::{Addresses, Tls};
    ///
    /// let addresses: Addresses = "amqps://user:password@rabbitmq.example/tv".parse()?;
    /// let tls = Tls { ca: Some("/etc/ssl/our-ca.pem".into()), ..Tls::default() };
    /// let addresses = addresses.with_tls(tls);
    /// # Ok::<(), streamwatch::client::AddressError>(())
    /// ```
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the largest body of a message, in bytes. Larger ones are cut off.
    #[cfg(feature = "worker")]
    pub(super) const fn set_largest_body(&mut self, bytes: usize) {
        self.largest_body = bytes;
    }

    pub(super) const fn largest_body(&self) -> usize {
        self.largest_body
    }

    /// Returns whether at least one address is `amqps://`.
    #[must_use]
    pub fn are_secure(&self) -> bool {
        self.uris.iter().any(is_secure)
    }

    /// The virtual host of the first address.
    #[must_use]
    pub fn vhost(&self) -> &str {
        self.uris.first().map_or("/", |uri| &uri.vhost)
    }

    pub(super) const fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The address for attempt `n`, and its text without the password.
    pub(super) fn at(&self, n: usize) -> (AMQPUri, String) {
        let uri = &self.uris[n % self.uris.len()];
        (uri.clone(), redacted(uri))
    }
}

impl FromStr for Addresses {
    type Err = AddressError;

    fn from_str(list: &str) -> Result<Self, AddressError> {
        let urls = list.split(',').map(str::trim).filter(|url| !url.is_empty());
        let uris = urls.enumerate().map(|(i, url)| {
            let mut uri: AMQPUri = url.parse().map_err(|_| AddressError::Invalid(i + 1))?;
            uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
            uri.query.frame_max.get_or_insert(FRAME_MAX);
            Ok(uri)
        });
        let uris: Vec<_> = uris.collect::<Result<_, _>>()?;
        if uris.is_empty() {
            return Err(AddressError::Empty);
        }
        Ok(Self {
            uris,
            tls: Tls::default(),
            largest_body: LARGEST_BODY,
        })
    }
}

pub(super) fn is_secure(uri: &AMQPUri) -> bool {
    uri.scheme == AMQPScheme::AMQPS
}

fn redacted(uri: &AMQPUri) -> String {
    let scheme = match uri.scheme {
        AMQPScheme::AMQP => "amqp",
        AMQPScheme::AMQPS => "amqps",
    };
    let at = &uri.authority;
    let user = match uri.query.auth_mechanism {
        // The user is the certificate's; the user in the address is ignored.
        Some(SASLMechanism::External) => String::new(),
        _ => format!("{}@", at.userinfo.username),
    };
    format!("{scheme}://{user}{}:{}/{}", at.host, at.port, uri.vhost)
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted: Vec<_> = self.uris.iter().map(redacted).collect();
        f.write_str(&redacted.join(", "))
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addresses({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_addresses_are_tried_in_turn_and_none_shows_its_password() {
        let list: Addresses = "amqp://u:s3cret@a:1/%2f, amqps://u:s3cret@b/x"
            .parse()
            .unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list.to_string(), "amqp://u@a:1//, amqps://u@b:5671/x");
        assert_eq!(list.at(3).1, "amqps://u@b:5671/x");
        assert!(!format!("{list:?}").contains("s3cret"));
    }

    #[test]
    fn a_mistake_is_reported_without_quoting_the_address() {
        let error = |list: &str| list.parse::<Addresses>().unwrap_err();
        assert_eq!(error(" , "), AddressError::Empty);
        assert_eq!(
            error("amqp://a,http://u:s3cret@b"),
            AddressError::Invalid(2)
        );
        assert!(!error("s3cret").to_string().contains("s3cret"));
    }
}
