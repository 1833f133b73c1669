//! Messages about rejected input, for operators.
//!
//! They contain enough to find the sender and its mistake, but never the body or an account. So
//! they omit the third word of the routing key.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{BadReply, Code, Message, Notice, Problem, Rfc3339};
use crate::domain::{Tenant, WallTime, is_zero};

const KIND: &str = "rejected";
/// Maximum length of a text from the message, in characters.
const MAX_CHARS: usize = 80;

/// The body of a message about rejected input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected<'a> {
    /// `rejected`.
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    /// The time of the rejection, by the worker's clock.
    pub at: Rfc3339,
    /// The source of the rejected message: `log`, `init`, `status`, `unrouted`, `intake`.
    pub source: Cow<'a, str>,
    /// The contract's error code.
    pub code: Code,
    /// The error in words.
    pub message: Cow<'a, str>,
    /// The field that causes the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'a, str>>,
    /// The first two words of the routing key. The third one is an account.
    pub routing_key: Cow<'a, str>,
    /// Its offset, if the source is the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The position of the rejected event, if the message is a batch and other events of it count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u16>,
    /// The publisher's program, not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<Cow<'a, str>>,
    /// The publisher's RabbitMQ user, if the publisher set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Cow<'a, str>>,
    /// Size of its body, in bytes.
    pub body_bytes: usize,
    /// Number of rejections since the last published one that were not published.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// The source of a rejected message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `log`, `init`, `status`, `unrouted`, `intake`.
    pub source: &'static str,
    /// Its offset, if the source is the log.
    pub offset: Option<u64>,
    /// The position of the rejected event, if only an event of a batch is rejected.
    pub index: Option<u16>,
}

impl Origin {
    /// The queue `source`.
    #[must_use]
    pub const fn queue(source: &'static str) -> Self {
        Self {
            source,
            offset: None,
            index: None,
        }
    }

    /// The entry of a log at `offset`.
    #[must_use]
    pub const fn log(offset: u64) -> Self {
        Self {
            source: "log",
            offset: Some(offset),
            index: None,
        }
    }

    /// The event at `index` of a batch.
    #[must_use]
    pub const fn of_event(self, index: u16) -> Self {
        Self {
            index: Some(index),
            ..self
        }
    }
}

/// Encodes the rejection of `message` at `at`, after `left_out` unpublished ones.
#[must_use]
pub fn rejected(
    origin: Origin,
    message: &Message,
    problem: &Problem,
    at: WallTime,
    left_out: u64,
) -> Notice {
    let body = Rejected {
        kind: KIND.into(),
        at: Rfc3339(at),
        source: origin.source.into(),
        code: problem.code,
        message: Cow::Borrowed(&problem.message),
        field: problem.field.as_deref().map(plain),
        routing_key: plain(without_account(message)),
        offset: origin.offset,
        index: origin.index,
        app_id: message.app_id.map(plain),
        user_id: message.user_id.map(plain),
        body_bytes: message.body.len(),
        left_out,
    };
    Notice {
        kind: KIND,
        routing_key: format!("{}.{}", tenant(message), problem.code),
        account: None,
        message_id: None,
        body: serde_json::to_vec(&body).expect("strings and numbers always encode"),
    }
}

/// The first two words of the routing key; the whole key if it is the name of a queue.
fn without_account<'a>(message: &Message<'a>) -> &'a str {
    let key = message.routing_key;
    let mut dots = key.match_indices('.');
    match dots.nth(1) {
        Some((at, _)) if !message.exchange.is_empty() => &key[..at],
        _ => key,
    }
}

/// The tenant in the routing key; empty if it is invalid.
fn tenant<'a>(message: &Message<'a>) -> &'a str {
    let first = message.routing_key.split('.').next().unwrap_or_default();
    if message.exchange.is_empty() || Tenant::new(first).is_err() {
        return "";
    }
    first
}

/// Shortens a text from the message, and escapes characters that are not printable.
fn plain(text: &str) -> Cow<'_, str> {
    let prints = |c: char| c == ' ' || c.is_ascii_graphic();
    if text.len() <= MAX_CHARS && text.chars().all(prints) {
        return text.into();
    }
    let mut escaped = text.chars().flat_map(char::escape_debug);
    let mut shown: String = escaped.by_ref().take(MAX_CHARS).collect();
    if escaped.next().is_some() {
        shown.push('…');
    }
    shown.into()
}

/// Decodes the body of a message about rejected input.
///
/// # Errors
/// [`BadReply`] if the body has another format.
pub fn decode(body: &[u8]) -> Result<Rejected<'_>, BadReply> {
    serde_json::from_slice(body).map_err(BadReply::new)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LOG: Origin = Origin::log(7);

    fn encoded(message: &Message, problem: &Problem) -> (String, Value) {
        let at = WallTime(1_763_805_600_000);
        let notice = rejected(LOG, message, problem, at, 3);
        assert_eq!((notice.kind, notice.account), ("rejected", None));
        let body = serde_json::from_slice(&notice.body).unwrap();
        (notice.routing_key, body)
    }

    fn keyed(routing_key: &str) -> Message<'_> {
        Message {
            exchange: "streamwatch",
            routing_key,
            ..Message::default()
        }
    }

    #[test]
    fn a_rejected_message_is_reported_without_its_body_and_account() {
        let message = Message {
            app_id: Some("player\n1"),
            user_id: Some("acme"),
            body: br#"{"account":"s3cret","stream":7777}"#,
            message_id: Some(b"s3cret"),
            correlation_id: Some(b"s3cret"),
            ..keyed("acme.heartbeat.s3cret")
        };
        let problem = super::super::entry(&message).unwrap_err();
        let (key, body) = encoded(&message, &problem);
        assert_eq!(key, "acme.bad_field");
        assert_eq!(
            body,
            json!({
                "type": "rejected", "at": "2025-11-22T10:00:00.000Z", "source": "log",
                "code": "bad_field", "message": problem.message, "field": "stream",
                "routing_key": "acme.heartbeat", "offset": 7, "app_id": "player\\n1",
                "user_id": "acme", "body_bytes": 34, "left_out": 3,
            })
        );
        assert!(!body.to_string().contains("s3cret"));
        let bytes = body.to_string().into_bytes();
        assert_eq!(decode(&bytes).unwrap().left_out, 3);
    }

    #[test]
    fn an_invalid_tenant_is_omitted_and_an_invalid_key_is_shortened_and_escaped() {
        let problem = Problem::new(Code::BadTenant, "no");
        let strange = format!("a\u{1b}[31m\u{202e}{}.init", "x".repeat(240));
        let (key, body) = encoded(&keyed(&strange), &problem);
        assert_eq!(key, ".bad_tenant");
        let shown = body["routing_key"].as_str().unwrap();
        assert!(shown.starts_with("a\\u{1b}[31m\\u{202e}xx"), "{shown}");
        assert!(
            shown.ends_with('…') && shown.chars().count() == 81,
            "{shown}"
        );
        // The name of a queue, not the key of a player.
        let internal = Message {
            exchange: "",
            ..keyed("streamwatch.p00.log")
        };
        let (key, body) = encoded(&internal, &problem);
        assert_eq!(key, ".bad_tenant");
        assert_eq!(body["routing_key"], "streamwatch.p00.log");
    }
}
