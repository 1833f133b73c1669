//! The queue of a `reply_to`.
//!
//! AMQP 0.9.1 clients name a queue. AMQP 1.0 clients send an address, which RabbitMQ converts to
//! the queue's name from version 4.1 on; STOMP clients send a destination. The addresses that
//! RabbitMQ does not convert are converted here.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{NoReply, direct, queue_names::is_streamwatch_queue};

/// The prefixes of addresses of queues, before the queue's name, percent-encoded: of AMQP 1.0 in
/// RabbitMQ 4, of AMQP 1.0 in RabbitMQ 3 and STOMP.
const QUEUES: [&str; 3] = ["/queues/", "/queue/", "/amq/queue/"];
/// The prefixes of addresses of exchanges.
const EXCHANGES: [&str; 3] = ["/exchanges/", "/exchange/", "/topic/"];

/// Returns the queue of a `reply_to`.
///
/// # Errors
/// If it is empty, names no queue, or names one to which workers send no replies: one of
/// streamwatch's, or a direct reply-to that RabbitMQ did not generate.
pub fn reply_queue(reply_to: &str) -> Result<Cow<'_, str>, NoReply> {
    if reply_to.is_empty() {
        return Err(NoReply::NotAsked);
    }
    let queue = named(reply_to).ok_or(NoReply::Refused)?;
    let may_reply = !queue.is_empty() && !is_streamwatch_queue(&queue) && direct::is_sound(&queue);
    may_reply.then_some(queue).ok_or(NoReply::Refused)
}

/// The name of the queue; `None` if the address has another form.
fn named(reply_to: &str) -> Option<Cow<'_, str>> {
    let after = |prefix: &&str| reply_to.strip_prefix(*prefix);
    if let Some(name) = QUEUES.iter().find_map(after) {
        return percent_decode_str(name).decode_utf8().ok();
    }
    let is_exchange = EXCHANGES.iter().any(|it| reply_to.starts_with(it));
    (!is_exchange).then_some(reply_to.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: &str = "amq.rabbitmq.reply-to.g1h2AA9yZXBseUAxMTExMzk5NDAAAAV+AAAAAGsKUkM=.3tndVKl0fBhHgC9rKXwbng==";

    #[test]
    fn an_address_of_a_queue_is_the_queue() {
        let encoded = DIRECT.replace('+', "%2B").replace('=', "%3D");
        for (address, queue) in [
            ("replies", "replies"),
            ("/queues/replies", "replies"),
            ("/queue/replies", "replies"),
            ("/amq/queue/replies", "replies"),
            ("/queues/my%2Freplies%20%C3%A4", "my/replies ä"),
            ("/queues/streamwatch.replies", "streamwatch.replies"),
            (DIRECT, DIRECT),
            (&format!("/queues/{encoded}"), DIRECT),
            ("/temp-queue/x", "/temp-queue/x"),
        ] {
            assert_eq!(reply_queue(address).as_deref(), Ok(queue), "{address}");
        }
        assert_eq!(reply_queue(""), Err(NoReply::NotAsked));
    }

    #[test]
    fn no_address_reaches_a_queue_of_streamwatch_or_an_exchange() {
        for address in [
            "streamwatch.p00.log",
            "/queues/streamwatch.p00.log",
            "/queues/%73treamwatch%2Ep00%2Elog",
            "/queue/a-streamwatch.p07.init",
            "/amq/queue/streamwatch.lifecycle.acme.x",
            "/queues/",
            "/queues/%ff",
            "/queues/amq.rabbitmq.reply-to",
            "/queues/amq.rabbitmq.reply-to.AAAA.a2V5",
            "/exchanges/streamwatch/acme.init",
            "/exchange/streamwatch",
            "/topic/acme.init",
        ] {
            assert_eq!(reply_queue(address), Err(NoReply::Refused), "{address}");
        }
    }
}
