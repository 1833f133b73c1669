//! What a topology consists of: one list, from which it is declared, shown and deleted.

use lapin::{ExchangeKind, types::AMQPValue};

use super::{REQUEST_TTL, Retention};
use crate::broker::Names;

/// Most requests that wait in a queue; publishers of more get a negative confirm.
const MAX_REQUESTS: i64 = 100_000;
/// Most unrouted messages that are kept; the oldest go first.
const MAX_UNROUTED: i64 = 10_000;
/// RabbitMQ 4 drops a message after 20 deliveries, closed channels included, and -1 would drop it
/// after the first on 3.10: so a number that no request reaches within its TTL.
const DELIVERY_LIMIT: i64 = 1_000_000;

/// Arguments of an exchange, a queue or a binding.
pub(super) type Arguments = Vec<(&'static str, AMQPValue)>;

/// An exchange. All are durable.
pub(super) struct Exchange {
    pub(super) name: String,
    pub(super) kind: ExchangeKind,
    /// Only exchanges publish to it.
    pub(super) internal: bool,
    /// Where messages go that it has no binding for.
    pub(super) alternate: Option<String>,
}

/// A queue. All are durable.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arguments: Arguments,
    /// An operator may have declared it with other arguments: it stays as it is.
    pub(super) keeps_arguments: bool,
}

/// Where a binding leads.
pub(super) enum To {
    Exchange(String),
    Queue(String),
}

/// One way of a message from an exchange on.
pub(super) struct Binding {
    pub(super) from: String,
    pub(super) to: To,
    pub(super) key: String,
}

/// One thing to declare.
pub(super) enum Part {
    Exchange(Exchange),
    Queue(Queue),
    Binding(Binding),
}

/// Everything, in the order of its declaration: what messages come from is declared behind what
/// they go to, so that a declaration that breaks off half-way lets none in.
pub(super) fn shape(names: &Names, retention: Retention) -> Vec<Part> {
    let mut parts = unrouted(names);
    parts.extend(partition(names, 0, retention));
    parts.push(exchange(names.exchange(), ExchangeKind::Topic));
    parts.push(bind(
        names.exchange(),
        To::Exchange(names.partition(0)),
        "#",
    ));
    parts
}

fn unrouted(names: &Names) -> Vec<Part> {
    let unrouted = names.unrouted();
    let kept = bounded(MAX_UNROUTED);
    vec![
        internal(&unrouted, ExchangeKind::Fanout, None),
        queue(&unrouted, kept),
        bind(&unrouted, To::Queue(unrouted.clone()), ""),
    ]
}

fn partition(names: &Names, number: u16, retention: Retention) -> Vec<Part> {
    let exchange = names.partition(number);
    let (log, init, status) = (names.log(number), names.init(number), names.status(number));
    let way = |queue: &str, key| bind(&exchange, To::Queue(queue.to_owned()), key);
    vec![
        internal(&exchange, ExchangeKind::Topic, Some(names.unrouted())),
        queue(&init, requests()),
        queue(&status, requests()),
        keeping(&log, entries(retention)),
        way(&log, "*.heartbeat.#"),
        way(&log, "*.stop.#"),
        way(&init, "*.init.#"),
        way(&status, "*.status.#"),
    ]
}

/// A log (RabbitMQ: stream).
fn entries(retention: Retention) -> Arguments {
    let segment = i64::try_from(retention.segment_bytes).unwrap_or(i64::MAX);
    let age = format!("{}s", retention.max_age.as_secs());
    vec![
        ("x-queue-type", text("stream")),
        ("x-max-age", text(&age)),
        (
            "x-stream-max-segment-size-bytes",
            AMQPValue::LongLongInt(segment),
        ),
    ]
}

/// A queue of requests, which their senders wait for.
fn requests() -> Arguments {
    let mut arguments = bounded(MAX_REQUESTS);
    arguments.push(("x-overflow", text("reject-publish")));
    arguments
}

/// A quorum queue of at most `messages`, each of which is gone after the time that a request may
/// wait.
fn bounded(messages: i64) -> Arguments {
    let ttl = i64::try_from(REQUEST_TTL.as_millis()).unwrap_or(i64::MAX);
    vec![
        ("x-queue-type", text("quorum")),
        ("x-max-length", AMQPValue::LongLongInt(messages)),
        ("x-message-ttl", AMQPValue::LongLongInt(ttl)),
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
    ]
}

fn exchange(name: &str, kind: ExchangeKind) -> Part {
    Part::Exchange(Exchange {
        name: name.to_owned(),
        kind,
        internal: false,
        alternate: None,
    })
}

fn internal(name: &str, kind: ExchangeKind, alternate: Option<String>) -> Part {
    Part::Exchange(Exchange {
        name: name.to_owned(),
        kind,
        internal: true,
        alternate,
    })
}

fn queue(name: &str, arguments: Arguments) -> Part {
    Part::Queue(Queue {
        name: name.to_owned(),
        arguments,
        keeps_arguments: false,
    })
}

fn keeping(name: &str, arguments: Arguments) -> Part {
    Part::Queue(Queue {
        name: name.to_owned(),
        arguments,
        keeps_arguments: true,
    })
}

fn bind(from: &str, to: To, key: &str) -> Part {
    Part::Binding(Binding {
        from: from.to_owned(),
        to,
        key: key.to_owned(),
    })
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
