//! The parts of a topology: one list, from which it is declared, shown and deleted.

use lapin::{ExchangeKind, types::AMQPValue};

use super::{REQUEST_TTL, Retention};
use crate::broker::Names;

/// Most requests that wait in a queue; publishers of more get a negative confirm.
const MAX_REQUESTS: i64 = 100_000;
/// Most unrouted messages that are kept; the oldest go first.
const MAX_UNROUTED: i64 = 10_000;
/// Most heartbeats and stops that wait in the intake; publishers of more get a negative confirm.
const MAX_EVENTS: i64 = 1_000_000;
/// How often a heartbeat or a stop is taken from the intake in vain before it is dropped: they do
/// not expire, and one that the AMQP library cannot read would keep the workers busy for ever. A
/// worker that cannot pass its messages on takes them again every half a minute or so.
const EVENT_DELIVERIES: i64 = 50;
/// The header that picks the partition.
const HEADER: &str = "account";
/// How often a request is requeued before it is dropped: RabbitMQ closes the connection of every
/// consumer that it should deliver an undeliverable request to, once more than this. A request is
/// also requeued by each worker that pauses or loses its connection before it has replied, and
/// where it was delivered behind an undeliverable one.
const DELIVERY_LIMIT: i64 = 2;
/// How long RabbitMQ 4.3 leaves requests to a consumer whose node does not answer, in milliseconds:
/// its default is six times as long as a requester waits. Earlier versions requeue them at once.
const DISCONNECTED_MS: i64 = 2_000;

/// Arguments of an exchange, a queue or a binding.
pub(super) type Arguments = Vec<(&'static str, AMQPValue)>;

/// An exchange.
pub(super) struct Exchange {
    pub(super) name: String,
    pub(super) kind: ExchangeKind,
    /// It is there again when RabbitMQ has restarted.
    pub(super) durable: bool,
    /// Only exchanges publish to it.
    pub(super) internal: bool,
    pub(super) arguments: Arguments,
}

/// A queue. All are durable.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arguments: Arguments,
    pub(super) holds: Holds,
}

/// The content of a queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Messages that are consumed.
    Messages,
    /// A log's entries. A log keeps the arguments of its first declaration.
    Entries,
    /// Snapshots; likewise.
    Snapshots,
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
    pub(super) key: &'static str,
    pub(super) arguments: Arguments,
}

/// One thing to declare.
pub(super) enum Part {
    Exchange(Exchange),
    Queue(Queue),
    Binding(Binding),
}

/// All parts, in the order of declaration. Destinations precede sources, so that an interrupted
/// declaration routes no messages. The lowest log comes last, so that it exists only if all others
/// do.
pub(super) fn shape(names: &Names, partitions: u16, retention: Retention) -> Vec<Part> {
    let mut parts = Vec::new();
    if partitions > 1 {
        // First of all: it needs a plugin.
        parts.push(hash(names));
    }
    parts.extend([
        Part::Exchange(topic(&names.lifecycle())),
        Part::Exchange(topic(&names.rejected())),
    ]);
    parts.extend(unrouted(names));
    for number in (0..partitions).rev() {
        parts.extend(partition(names, number, retention));
    }
    let first = if partitions > 1 {
        parts.extend(entrance(names));
        parts.extend(intake(names));
        names.by_header()
    } else {
        names.partition(0)
    };
    let players = names.exchange();
    parts.push(Part::Exchange(topic(players)));
    parts.push(bind(players, To::Exchange(first), "#"));
    parts
}

/// The exchange that picks the partition.
///
/// Not durable: when RabbitMQ starts, it binds what is durable in any order, all at once, and the
/// order decides which hash goes where: accounts would find themselves in other partitions than
/// before (seen on 3.10.8 and on 4.0.5). So workers bind it, see [`ring`].
fn hash(names: &Names) -> Part {
    let kind = ExchangeKind::Custom("x-consistent-hash".to_owned());
    let by_account = vec![("hash-header", text(HEADER))];
    Part::Exchange(Exchange {
        durable: false,
        // Workers publish to it what they take from the intake.
        internal: false,
        ..internal(&names.hash(), kind, by_account)
    })
}

/// The hash exchange and its ring, to be bound one after the other.
pub(super) fn ring(names: &Names, partitions: u16) -> Vec<Part> {
    let to = |number| To::Exchange(names.partition(number));
    let bindings = (0..partitions).map(|number| bind(&names.hash(), to(number), "1"));
    std::iter::once(hash(names)).chain(bindings).collect()
}

/// The way from the entrance to the ring, once there is one. It goes with the ring.
pub(super) fn opened_entrance(names: &Names) -> Part {
    bind(&names.entrance(), To::Exchange(names.hash()), "")
}

/// Where messages with the header come, and what refuses them as long as it leads nowhere: a queue
/// that is always full. A message that no queue takes would be confirmed, and be lost.
fn entrance(names: &Names) -> Vec<Part> {
    let closed = names.closed();
    let no_room = vec![("x-max-length", number(0))];
    vec![
        Part::Exchange(internal(&closed, ExchangeKind::Fanout, vec![])),
        // Not a quorum queue: such a one takes the first message before it sees that it is full.
        queue(&closed, refusing(no_room)),
        bind(&closed, To::Queue(closed.clone()), ""),
        Part::Exchange(internal(
            &names.entrance(),
            ExchangeKind::Fanout,
            vec![alternate(&closed)],
        )),
    ]
}

/// Queues of messages without the header, which wait until a worker adds it, and their routing.
fn intake(names: &Names) -> Vec<Part> {
    let (intake, requests, events) = (
        names.intake(),
        names.intake_requests(),
        names.intake_events(),
    );
    let way = |queue: &str, key| bind(&intake, To::Queue(queue.to_owned()), key);
    let unrouted = vec![alternate(&names.unrouted())];
    vec![
        Part::Exchange(internal(&intake, ExchangeKind::Topic, unrouted)),
        queue(&requests, waiting()),
        // The broker has confirmed these, so they stay until a worker runs, as in a log. Log time
        // stands still until then.
        queue(&events, refusing(bounded(MAX_EVENTS, EVENT_DELIVERIES))),
        way(&requests, "*.init.#"),
        way(&requests, "*.status.#"),
        way(&events, "*.heartbeat.#"),
        way(&events, "*.stop.#"),
        Part::Exchange(internal(
            &names.by_header(),
            ExchangeKind::Headers,
            vec![alternate(&intake)],
        )),
        Part::Binding(Binding {
            from: names.by_header(),
            to: To::Exchange(names.entrance()),
            key: "",
            // Without a value: it is enough that the header is there.
            arguments: vec![("x-match", text("all")), (HEADER, AMQPValue::Void)],
        }),
    ]
}

fn unrouted(names: &Names) -> Vec<Part> {
    let unrouted = names.unrouted();
    vec![
        Part::Exchange(internal(&unrouted, ExchangeKind::Fanout, vec![])),
        queue(&unrouted, expiring(bounded(MAX_UNROUTED, DELIVERY_LIMIT))),
        bind(&unrouted, To::Queue(unrouted.clone()), ""),
    ]
}

fn partition(names: &Names, number: u16, retention: Retention) -> Vec<Part> {
    let exchange = names.partition(number);
    let (log, init, status) = (names.log(number), names.init(number), names.status(number));
    let way = |queue: &str, key| bind(&exchange, To::Queue(queue.to_owned()), key);
    let unrouted = vec![alternate(&names.unrouted())];
    vec![
        Part::Exchange(internal(&exchange, ExchangeKind::Topic, unrouted)),
        queue(&init, waiting()),
        queue(&status, waiting()),
        Part::Queue(Queue {
            holds: Holds::Entries,
            name: log.clone(),
            arguments: entries(retention),
        }),
        Part::Queue(Queue {
            holds: Holds::Snapshots,
            name: names.snapshots(number),
            arguments: snapshots(retention),
        }),
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
        ("x-stream-max-segment-size-bytes", number(segment)),
    ]
}

/// Retention by size alone: the newest snapshot stays until two newer ones are complete, regardless
/// of its age.
fn snapshots(retention: Retention) -> Arguments {
    let bytes = |bytes| number(i64::try_from(bytes).unwrap_or(i64::MAX));
    vec![
        ("x-queue-type", text("stream")),
        ("x-max-length-bytes", bytes(retention.snapshot_bytes)),
        (
            "x-stream-max-segment-size-bytes",
            bytes(retention.segment_bytes.min(retention.snapshot_bytes / 8)),
        ),
    ]
}

/// A queue of requests, which their senders wait for.
fn waiting() -> Arguments {
    refusing(expiring(bounded(MAX_REQUESTS, DELIVERY_LIMIT)))
}

/// A quorum queue of at most so many messages, each delivered so often.
fn bounded(messages: i64, deliveries: i64) -> Arguments {
    vec![
        ("x-queue-type", text("quorum")),
        ("x-max-length", number(messages)),
        ("x-delivery-limit", number(deliveries)),
        ("x-consumer-disconnected-timeout", number(DISCONNECTED_MS)),
    ]
}

/// A message is gone after the time that a request may wait.
fn expiring(mut arguments: Arguments) -> Arguments {
    let ttl = i64::try_from(REQUEST_TTL.as_millis()).unwrap_or(i64::MAX);
    arguments.push(("x-message-ttl", number(ttl)));
    arguments
}

/// Where the queue is full, publishers get a negative confirm.
fn refusing(mut arguments: Arguments) -> Arguments {
    arguments.push(("x-overflow", text("reject-publish")));
    arguments
}

/// A topic exchange that others than exchanges publish to.
fn topic(name: &str) -> Exchange {
    Exchange {
        internal: false,
        ..internal(name, ExchangeKind::Topic, vec![])
    }
}

pub(super) fn internal(name: &str, kind: ExchangeKind, arguments: Arguments) -> Exchange {
    Exchange {
        name: name.to_owned(),
        kind,
        durable: true,
        internal: true,
        arguments,
    }
}

fn queue(name: &str, arguments: Arguments) -> Part {
    Part::Queue(Queue {
        name: name.to_owned(),
        arguments,
        holds: Holds::Messages,
    })
}

pub(super) fn bind(from: &str, to: To, key: &'static str) -> Part {
    Part::Binding(Binding {
        from: from.to_owned(),
        to,
        key,
        arguments: vec![],
    })
}

/// Where messages go that an exchange has no binding for.
fn alternate(exchange: &str) -> (&'static str, AMQPValue) {
    ("alternate-exchange", text(exchange))
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

const fn number(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}
