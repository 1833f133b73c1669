//! Reply topics of MQTT devices: the request's topic with `replies` in place of its kind.

use crate::domain::check_tenant;

/// The second word of a reply topic, at the place of a request's kind. It is not a kind, so no
/// client can make a worker publish an event.
pub const REPLIES: &str = "replies";

/// Maximum length of a reply topic, in bytes, as of AMQP's routing keys.
const MAX_BYTES: usize = 255;

/// Returns whether `topic` is an allowed reply topic for `routing_key`, both with dots in place of
/// MQTT's slashes. RabbitMQ's permissions verify the owner of the key, so the topic must start like
/// the key: replies to `acme.init.alice` go to `acme.replies.alice.…`, with a suffix of the
/// device's choice.
///
/// Allows only characters of percent-encoded text, for which permissions are regular expressions.
#[must_use]
pub fn is_reply_topic(topic: &str, routing_key: &str) -> bool {
    let mut asked = routing_key.splitn(3, '.');
    let tenant = asked.next().unwrap_or_default();
    let _kind = asked.next();
    let own = topic
        .strip_prefix(tenant)
        .and_then(|rest| rest.strip_prefix('.')?.strip_prefix(REPLIES))
        .and_then(|rest| match asked.next() {
            Some(account) => rest.strip_prefix('.')?.strip_prefix(account),
            None => Some(rest),
        })
        .and_then(|rest| rest.strip_prefix('.'));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_~%.-".contains(&b);
    check_tenant(tenant).is_ok()
        && own.is_some_and(|own| !own.is_empty())
        && topic.len() <= MAX_BYTES
        && topic.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_published_under_the_topic_of_its_request() {
        assert!(is_reply_topic("acme.replies.tv-1", "acme.init"));
        assert!(is_reply_topic("acme.replies.alice.tv-1", "acme.init.alice"));
        assert!(is_reply_topic(
            "acme.replies.a%2Eb.x.y",
            "acme.status.a%2Eb"
        ));
    }

    #[test]
    fn no_reply_is_published_to_a_foreign_topic() {
        for (topic, key) in [
            ("other.replies.x", "acme.init"),
            ("acme.heartbeat.alice", "acme.init.alice"),
            ("acme.replies", "acme.init"),
            ("acme.replies.", "acme.init"),
            ("acme.replies.alice", "acme.init.alice"),
            ("acme.replies.bob.x", "acme.init.alice"),
            ("acme.replies.alicex.y", "acme.init.alice"),
            ("acme.repliesx.y", "acme.init"),
            ("acmereplies.x", "acme.init"),
            ("acme.replies.*", "acme.init"),
            ("acme.replies.x\n", "acme.init"),
            (".replies.x", ".init"),
            ("a cme.replies.x", "a cme.init"),
            ("", ""),
        ] {
            assert!(!is_reply_topic(topic, key), "{topic} for {key}");
        }
        let long = |n| format!("acme.replies.{}", "x".repeat(n));
        assert!(is_reply_topic(&long(242), "acme.init"));
        assert!(!is_reply_topic(&long(243), "acme.init"));
    }
}
