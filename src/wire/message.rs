//! A delivered message, and the checks that all decoders share.

use std::borrow::Cow;

use serde::Deserialize;
use uuid::Uuid;

use super::{
    Code, Kind, Problem, RoutingKey, amqp_value::unwrapped, diagnosis::diagnose, fields::Text,
};
use crate::domain::AccountKey;

/// Maximum size of a body, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// The name of the header whose hash selects the partition.
pub const ACCOUNT_HEADER: &str = "account";

/// The header `account`, which selects the partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountHeader<'a> {
    /// The message has no such header.
    #[default]
    Absent,
    /// A string, UTF-8 or not.
    Text(&'a [u8]),
    /// A value of another type.
    NotText,
}

/// The parts of a delivered message that the contract uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// The exchange to which it was published; empty for the default exchange.
    pub exchange: &'a str,
    /// Its routing key.
    pub routing_key: &'a str,
    /// Its header `account`.
    pub account: AccountHeader<'a>,
    /// Where to send the reply.
    pub reply_to: Option<&'a str>,
    /// Copied to the reply.
    pub correlation_id: Option<&'a [u8]>,
    /// The publisher's id of this message.
    pub message_id: Option<&'a [u8]>,
    /// The publisher's program, not verified.
    pub app_id: Option<&'a str>,
    /// The publisher's RabbitMQ user, verified by the broker if present.
    pub user_id: Option<&'a str>,
    /// The encoding of the body, such as [`GZIP`](super::GZIP).
    pub content_encoding: Option<&'a str>,
    /// Whether its properties or headers cannot be decoded. Those above may be missing then.
    pub undecodable: bool,
    /// The body.
    pub body: &'a [u8],
}

/// The namespace of derived ids, which are UUIDs version 5.
pub(super) const DERIVED: Uuid = Uuid::from_u128(0x6d1f_f2c6_0a0e_4e3f_9a55_2f0b_6a6d_2e57);

impl<'a> Message<'a> {
    /// Parses the routing key, whose kind must be one of `kinds`.
    pub(super) fn key(&self, kinds: &[Kind]) -> Result<RoutingKey<'a>, Problem> {
        if self.undecodable {
            return Err(Problem::undecodable());
        }
        let key = RoutingKey::parse(self.routing_key)?;
        if kinds.contains(&key.kind) {
            Ok(key)
        } else {
            Err(Problem::new(
                Code::UnknownKind,
                "messages of this kind do not belong in this queue",
            ))
        }
    }

    /// Decodes the body, which must be a JSON object of at most 16 KiB.
    pub(super) fn json<B: Deserialize<'a>>(&self) -> Result<B, Problem> {
        let body = unwrapped(self.body)?;
        if body.len() > MAX_BODY_BYTES {
            return Err(Problem::new(
                Code::TooLarge,
                "the body is larger than 16 KiB",
            ));
        }
        let first = body.iter().find(|b| !b.is_ascii_whitespace());
        if first != Some(&b'{') {
            // serde would also accept an array of the fields' values.
            return Err(diagnose::<B>(body));
        }
        serde_json::from_slice(body).map_err(|_| diagnose::<B>(body))
    }

    /// Returns the account's key, after comparing it with the routing key and the header.
    pub(super) fn account_key(
        &self,
        key: &RoutingKey,
        account: Option<&Text>,
    ) -> Result<AccountKey, Problem> {
        let Some(Text(account)) = account else {
            return Err(missing("account"));
        };
        let found = AccountKey::of(key.tenant, account)
            .map_err(|e| Problem::field(Code::BadField, "account", e.to_string()))?;
        if key.account.as_ref().is_some_and(|named| named != account) {
            return Err(Problem::field(
                Code::AccountMismatch,
                "account",
                "the routing key names another account than the body",
            ));
        }
        let agrees = match self.account {
            AccountHeader::Absent => true,
            AccountHeader::Text(text) => text == account.as_bytes(),
            AccountHeader::NotText => false,
        };
        if !agrees {
            return Err(Problem::field(
                Code::AccountMismatch,
                "account",
                "the header account must be a string equal to the body's account",
            ));
        }
        Ok(found)
    }

    /// Derives an id that is the same for every delivery of this request, from `what`, the account,
    /// and the `message_id`, else the `reply_to` and `correlation_id`. `None` if all are missing.
    pub(super) fn derived_id(&self, what: &str, key: &AccountKey) -> Option<Uuid> {
        let ids: &[&[u8]] = match (self.message_id, self.reply_to, self.correlation_id) {
            (Some(id), _, _) => &[b"m", id],
            (None, Some(reply_to), Some(id)) => &[b"r", reply_to.as_bytes(), id],
            _ => return None,
        };
        let request = [what.as_bytes(), key.as_str().as_bytes()];
        let source = [&request[..], ids].concat().join(&0);
        Some(Uuid::new_v5(&DERIVED, &source))
    }
}

pub(super) fn bad(field: &'static str, message: impl Into<Cow<'static, str>>) -> Problem {
    Problem::field(Code::BadField, field, message)
}

pub(super) fn missing(field: &'static str) -> Problem {
    Problem::field(
        Code::MissingField,
        field,
        format!("the field {field} is missing"),
    )
}

/// Rejects an array of more than `most` elements.
pub(super) fn at_most(
    most: usize,
    of: &str,
    field: &'static str,
    elements: usize,
) -> Result<(), Problem> {
    if elements <= most {
        return Ok(());
    }
    let message = format!("must be an array of at most {most} {of}, not a longer one");
    Err(bad(field, message))
}
