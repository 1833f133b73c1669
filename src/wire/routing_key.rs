//! Routing keys: `<tenant>.<kind>`, or `<tenant>.<kind>.<account, percent-encoded>`.

use std::{borrow::Cow, fmt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Code, Problem};
use crate::domain::{AccountId, PlayerEvent, Tenant, check_tenant};

/// RFC 3986's unreserved characters without the dot, which separates the words of the key.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

words! {
    /// The kind of a message.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Kind {
        /// Starts a stream.
        Init = "init",
        /// Keeps a stream active.
        Heartbeat = "heartbeat",
        /// Ends a stream.
        Stop = "stop",
        /// Requests an account's activity.
        Status = "status",
        /// Heartbeats and stops of many streams.
        Batch = "batch",
        /// Requests a tenant's accounts.
        Accounts = "accounts",
        /// Requests a tenant's totals.
        Totals = "totals",
    }
}

impl Kind {
    /// The kinds that players may publish.
    pub const OF_PLAYERS: [Self; 4] = [Self::Init, Self::Heartbeat, Self::Stop, Self::Status];

    /// The kind of the message of a heartbeat or a stop.
    #[must_use]
    pub const fn of_event(event: &PlayerEvent) -> Self {
        match event {
            PlayerEvent::Heartbeat(_) => Self::Heartbeat,
            PlayerEvent::Stop(_) => Self::Stop,
        }
    }

    /// The kinds that only backends may publish.
    pub const OF_BACKENDS: [Self; 3] = [Self::Batch, Self::Accounts, Self::Totals];

    /// Whether messages of this kind are about a tenant and go to each partition.
    #[must_use]
    pub const fn is_about_tenant(self) -> bool {
        matches!(self, Self::Accounts | Self::Totals)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn unknown_kind() -> Problem {
    let [first @ .., last] = Kind::ALL.map(|kind| format!("TENANT.{kind}"));
    let first = first.join(", ");
    Problem::new(
        Code::UnknownKind,
        format!("the routing key must be {first} or {last}"),
    )
}

/// A parsed routing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingKey<'a> {
    /// The owner of the account; validated.
    pub tenant: &'a str,
    /// The kind of the message.
    pub kind: Kind,
    /// The account, if the key contains one.
    pub account: Option<Cow<'a, str>>,
}

impl<'a> RoutingKey<'a> {
    /// Parses a routing key.
    ///
    /// # Errors
    /// `unknown_kind`, `bad_tenant`, or `account_mismatch` if the account is not percent-encoded
    /// UTF-8.
    pub fn parse(key: &'a str) -> Result<Self, Problem> {
        let mut words = key.splitn(3, '.');
        let tenant = words.next().unwrap_or_default();
        let kind = words.next().and_then(Kind::from_word);
        let kind = kind.ok_or_else(unknown_kind)?;
        check_tenant(tenant).map_err(|e| Problem::new(Code::BadTenant, e.to_string()))?;
        let account = match words.next() {
            None => None,
            Some(_) if kind.is_about_tenant() => {
                return Err(Problem::new(
                    Code::AccountMismatch,
                    "accounts and totals are about a tenant: the routing key must name no account",
                ));
            }
            Some(encoded) => Some(percent_decode_str(encoded).decode_utf8().map_err(|_| {
                Problem::new(
                    Code::AccountMismatch,
                    "the account in the routing key is not percent-encoded UTF-8",
                )
            })?),
        };
        Ok(Self {
            tenant,
            kind,
            account,
        })
    }

    /// The routing key of a message of `kind`, without an account.
    #[must_use]
    pub fn of_tenant(tenant: &Tenant, kind: Kind) -> String {
        format!("{tenant}.{kind}")
    }

    /// The routing key with the account, for permissions of one viewer. `None` if it exceeds AMQP's
    /// 255 bytes.
    #[must_use]
    pub fn of_account(tenant: &Tenant, kind: Kind, account: &AccountId) -> Option<String> {
        let account = utf8_percent_encode(account.as_str(), KEPT);
        let key = format!("{tenant}.{kind}.{account}");
        (key.len() <= 255).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_tenant_and_kind_and_perhaps_the_account() {
        let key = RoutingKey::parse("acme.init").unwrap();
        assert_eq!((key.tenant, key.kind), ("acme", Kind::Init));
        assert_eq!(key.account, None);
        let key = RoutingKey::parse("acme.heartbeat.al%C3%AF.ce%2e").unwrap();
        assert_eq!(key.account.as_deref(), Some("alï.ce."));
    }

    #[test]
    fn a_bad_key_has_the_right_code() {
        let code = |key| RoutingKey::parse(key).unwrap_err().code;
        assert_eq!(code("acme"), Code::UnknownKind);
        assert_eq!(code("acme.play"), Code::UnknownKind);
        assert_eq!(code("a cme.init"), Code::BadTenant);
        assert_eq!(code(".init"), Code::BadTenant);
        assert_eq!(code("acme.init.%ff"), Code::AccountMismatch);
    }

    #[test]
    fn an_account_survives_its_encoding() {
        let tenant = Tenant::new("acme").unwrap();
        for account in ["alice", "a.b#c*d", "é/ü", "100%"] {
            let id = AccountId::new(account).unwrap();
            let key = RoutingKey::of_account(&tenant, Kind::Stop, &id).unwrap();
            assert_eq!(key.matches('.').count(), 2, "{key}");
            let parsed = RoutingKey::parse(&key).unwrap();
            assert_eq!(parsed.account.as_deref(), Some(account));
        }
        let long = AccountId::new(&"é".repeat(64)).unwrap();
        assert_eq!(RoutingKey::of_account(&tenant, Kind::Stop, &long), None);
    }
}
