//! Problems of a message, as reported to its sender.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// The stable codes of the contract's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// The body is not a JSON object in UTF-8.
    BadJson,
    /// The body is larger than 16 KiB, or than 128 KiB if it is a batch.
    TooLarge,
    /// A field has a wrong type or exceeds its limits.
    BadField,
    /// A required field is missing.
    MissingField,
    /// The routing key contains no kind of the contract.
    UnknownKind,
    /// The routing key's tenant is not `[A-Za-z0-9_-]{1,64}`.
    BadTenant,
    /// The account in the routing key or in the header `account` differs from the body's.
    AccountMismatch,
    /// The request had expired when it was decided. Nothing changed.
    Late,
    /// The outcome is unknown. Retry with the same stream id.
    Unavailable,
    /// A property or header is not UTF-8, is nested too deep, or all of them are too large.
    Undecodable,
    /// An entry that RabbitMQ cannot deliver; never sent as a reply.
    Undeliverable,
    /// A batch for another partition.
    WrongPartition,
    /// A field that needs newer rules than the installation has.
    OldRules,
    /// More requests per second than the installation accepts of the tenant or the account.
    Throttled,
    /// A code of a later version of the contract.
    #[serde(other)]
    Other,
}

impl Code {
    /// The code in replies, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::TooLarge => "too_large",
            Self::BadField => "bad_field",
            Self::MissingField => "missing_field",
            Self::UnknownKind => "unknown_kind",
            Self::BadTenant => "bad_tenant",
            Self::AccountMismatch => "account_mismatch",
            Self::Late => "late",
            Self::Unavailable => "unavailable",
            Self::Undecodable => "undecodable",
            Self::Undeliverable => "undeliverable",
            Self::WrongPartition => "wrong_partition",
            Self::OldRules => "old_rules",
            Self::Throttled => "throttled",
            Self::Other => "other",
        }
    }

    /// All codes, in the order of their numbers. Snapshots contain counts by number, so a code
    /// never changes its number.
    pub const ALL: [Self; 15] = [
        Self::BadJson,
        Self::TooLarge,
        Self::BadField,
        Self::MissingField,
        Self::UnknownKind,
        Self::BadTenant,
        Self::AccountMismatch,
        Self::Late,
        Self::Unavailable,
        Self::Undecodable,
        Self::Undeliverable,
        Self::WrongPartition,
        Self::OldRules,
        Self::Throttled,
        Self::Other,
    ];

    /// The number of the code.
    #[must_use]
    pub fn number(self) -> usize {
        let place = Self::ALL.iter().position(|code| *code == self);
        place.unwrap_or(Self::ALL.len() - 1)
    }

    /// Whether a retry of the same message may succeed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Late | Self::Unavailable | Self::Throttled)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason why a message was not accepted. It never quotes the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Problem {
    /// The error code.
    pub code: Code,
    /// The problem in words, with the expected form.
    pub message: Cow<'static, str>,
    /// The field that causes the problem.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<Cow<'static, str>>,
    /// Whether a retry of the same message may succeed.
    pub retryable: bool,
    /// The time to wait before a retry, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// A problem with a message as a whole.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            retryable: code.is_retryable(),
            retry_after_ms: code.is_retryable().then_some(1_000),
        }
    }

    /// A problem with one field.
    pub fn field(
        code: Code,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new(code, message)
        }
    }

    /// The message's `reply_to` is not allowed.
    #[must_use]
    pub fn reply_to() -> Self {
        Self::field(
            Code::BadField,
            "reply_to",
            "must be amq.rabbitmq.reply-to, or a queue that does not belong to streamwatch",
        )
    }

    /// The message's response topic is not allowed.
    #[must_use]
    pub fn response_topic() -> Self {
        Self::field(
            Code::BadField,
            "response_topic",
            "it must be the message's own topic with `replies` for its kind and something more \
             behind it, such as TENANT/replies/ACCOUNT/DEVICE, of A-Z a-z 0-9 _ ~ % . - and at most \
             255 bytes, as is the correlation data",
        )
    }

    /// The message's correlation id is too long to be returned.
    #[must_use]
    pub fn correlation_id() -> Self {
        Self::field(
            Code::BadField,
            "correlation_id",
            "it must have at most 1,024 bytes, as must the message_id that replaces it",
        )
    }

    /// The request had expired when it was decided.
    #[must_use]
    pub fn late() -> Self {
        Self::new(
            Code::Late,
            "the request was too old when it was decided; nothing was opened, ask again",
        )
    }

    /// The message's properties or headers cannot be decoded.
    #[must_use]
    pub fn undecodable() -> Self {
        Self::new(
            Code::Undecodable,
            "the message's properties must be UTF-8, as must the names of its headers, nested at \
             most 16 deep; they must be smaller together than a frame",
        )
    }

    /// RabbitMQ cannot deliver the entry to an AMQP 0.9.1 consumer.
    #[must_use]
    pub fn undeliverable() -> Self {
        Self::new(
            Code::Undeliverable,
            "RabbitMQ cannot deliver the entry to an AMQP 0.9.1 consumer: a property or header of \
             it has a value that AMQP 0.9.1 does not have",
        )
    }

    /// A batch was routed to another partition than its sender states. None of its events counts.
    #[must_use]
    pub fn wrong_partition() -> Self {
        Self::field(
            Code::WrongPartition,
            "partition",
            "the batch was routed to another partition than it states, or states another number of \
             partitions; none of its events counts: learn the partition of each account from \
             replies, and publish the events again",
        )
    }

    /// The message uses a field that the rules of the installation do not have.
    #[must_use]
    pub fn old_rules(field: &'static str) -> Self {
        Self::field(
            Code::OldRules,
            field,
            "needs rules version 2, and this installation has version 1: once all of its workers \
             support them, an operator sets them with `streamwatch topology set --rules 2`",
        )
    }

    /// A request of a known kind was routed to no queue of its kind.
    #[must_use]
    pub fn not_routed() -> Self {
        Self::new(
            Code::Unavailable,
            "this installation does not route requests of this kind: its operator runs \
             `streamwatch topology declare`",
        )
    }

    /// The tenant or the account sends more requests per second than the installation accepts.
    #[must_use]
    pub fn throttled(retry_after_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(retry_after_ms),
            ..Self::new(
                Code::Throttled,
                "more requests a second than this installation accepts of the tenant or the \
                 account; nothing changed: repeat the request after retry_after_ms",
            )
        }
    }

    /// The outcome of the request is unknown.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(
            Code::Unavailable,
            "the outcome is not known; repeat the request with the same stream id",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Counters;

    #[test]
    fn the_domain_counts_by_the_numbers_of_the_codes() {
        assert_eq!(Code::BadField.number(), Counters::BAD_FIELD);
        assert_eq!(Code::OldRules.number(), Counters::OLD_RULES);
    }

    #[test]
    fn codes_are_equal_in_json_and_in_text() {
        for code in Code::ALL.into_iter().filter(|code| *code != Code::Other) {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
        }
        let later: Code = serde_json::from_str("\"too_early\"").unwrap();
        assert_eq!(later, Code::Other);
    }
}
