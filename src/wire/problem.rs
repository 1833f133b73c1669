//! Problems of a message, as reported to its sender.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::domain::{Counters, MAX_BAD_REASONS};

words! {
    /// The stable codes of the contract's errors.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[non_exhaustive]
    pub enum Code {
        /// The body is not a JSON object in UTF-8.
        BadJson = "bad_json",
        /// The body is larger than 16 KiB, or than 128 KiB if it is a batch.
        TooLarge = "too_large",
        /// A field has a wrong type or exceeds its limits.
        BadField = "bad_field",
        /// A required field is missing.
        MissingField = "missing_field",
        /// The routing key contains no kind of the contract.
        UnknownKind = "unknown_kind",
        /// The routing key's tenant is not `[A-Za-z0-9_-]{1,64}`.
        BadTenant = "bad_tenant",
        /// The account in the routing key or in the header `account` differs from the body's.
        AccountMismatch = "account_mismatch",
        /// The request had expired when it was decided. Nothing changed.
        Late = "late",
        /// The outcome is unknown. Retry with the same stream id.
        Unavailable = "unavailable",
        /// A property or header is not UTF-8, is nested too deep, or all of them are too large.
        Undecodable = "undecodable",
        /// An entry that RabbitMQ cannot deliver; never sent as a reply.
        Undeliverable = "undeliverable",
        /// A batch for another partition.
        WrongPartition = "wrong_partition",
        /// A field that needs newer rules than the installation has.
        OldRules = "old_rules",
        /// More requests per second than the installation accepts of the tenant or the account.
        Throttled = "throttled",
        /// A code of a later version of the contract.
        #[serde(other)]
        Other = "other",
    }
}

impl Code {
    /// The number of the code. Snapshots contain counts by number, so a code never changes its
    /// number.
    #[must_use]
    pub const fn number(self) -> usize {
        self as usize
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

// The domain counts by these numbers.
const _: () = assert!(Code::BadField.number() == Counters::BAD_FIELD);
const _: () = assert!(Code::OldRules.number() == Counters::OLD_RULES);
const _: () = assert!(Code::ALL.len() <= MAX_BAD_REASONS);

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
            "must be the message's own topic with `replies` instead of the kind and at least one \
             further level, such as TENANT/replies/ACCOUNT/DEVICE; topic and correlation data: at \
             most 255 bytes of A-Z a-z 0-9 _ ~ % . - each",
        )
    }

    /// The message's correlation id is too long to be returned.
    #[must_use]
    pub fn correlation_id() -> Self {
        Self::field(
            Code::BadField,
            "correlation_id",
            "must have at most 1,024 bytes; the same bound holds for a message_id in its place",
        )
    }

    /// The request had expired when it was decided.
    #[must_use]
    pub fn late() -> Self {
        Self::new(
            Code::Late,
            "the request was too old when it was decided; nothing was opened: repeat the request",
        )
    }

    /// The message's properties or headers cannot be decoded.
    #[must_use]
    pub fn undecodable() -> Self {
        Self::new(
            Code::Undecodable,
            "the message's properties and the names of its headers must be UTF-8, nested at most 16 \
             deep, and fit into one frame",
        )
    }

    /// RabbitMQ cannot deliver the entry to an AMQP 0.9.1 consumer.
    #[must_use]
    pub fn undeliverable() -> Self {
        Self::new(
            Code::Undeliverable,
            "RabbitMQ cannot deliver the entry to an AMQP 0.9.1 consumer: a property or header has \
             a value of a type that AMQP 0.9.1 does not have",
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
                "the tenant or the account sends more requests a second than this installation \
                 accepts; nothing changed: repeat the request after retry_after_ms",
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
