//! The exchanges, queues and bindings of a topology, in one list for all operations.

use lapin::{ExchangeKind, types::AMQPValue};

use super::{
    arguments::{
        DELIVERY_LIMIT, alternate, bounded, entries, expiring, refusing, requests, snapshots,
    },
    component::{
        Binding, Component, Exchange, Queue, QueueKind, To, bind, exchange, internal, keys_of,
        number, queue, text, topic,
    },
    layout::Layout,
    retention::Retention,
    status::status,
};
use crate::{
    broker::Names,
    wire::{ACCOUNT_HEADER, Kind},
};

/// Most unrouted messages; the broker then drops the oldest.
const MAX_UNROUTED: i64 = 10_000;
/// Most heartbeats and stops in the intake; the broker rejects further ones with a nack.
const MAX_EVENTS: i64 = 1_000_000;
/// Delivery limit of heartbeats and stops in the intake. RabbitMQ closes a consumer's connection at
/// every delivery of an undeliverable one. A deliverable one is requeued only by a worker that has
/// lost its connection or ended before a partition confirmed it, or has waited 10 minutes for that.
const EVENT_DELIVERIES: i64 = 5;

/// All components, in the order of declaration. Destinations precede sources, so that an
/// interrupted declaration routes no messages. The lowest log comes last, so that it exists only if
/// all others do.
pub(super) fn components(names: &Names, layout: &Layout) -> Vec<Component> {
    let partitions = layout.partitions;
    let mut components = Vec::new();
    if partitions > 1 {
        // First, since it fails if the plugin is missing.
        components.push(hash(names));
    }
    components.extend([topic(&names.lifecycle()), topic(&names.rejected())]);
    components.extend(unrouted(names));
    let each = names.each_partition();
    components.push(internal(&each, ExchangeKind::Fanout, vec![]));
    for number in (0..partitions).rev() {
        components.extend(partition(names, number, layout.retention));
        components.extend(status(names, number, layout.status));
        components.push(bind(&each, To::Queue(names.status(number)), ""));
        components.extend(about_tenants(names, &names.partition(number)));
    }
    let first = if partitions > 1 {
        components.extend(entrance(names));
        components.extend(intake(names));
        names.by_header()
    } else {
        names.partition(0)
    };
    let players = names.exchange();
    components.push(topic(players));
    components.push(bind(players, To::Exchange(first), "#"));
    components
}

/// The exchange that selects the partition.
///
/// Not durable: at its start, RabbitMQ recovers durable bindings concurrently in any order, and
/// their order decides which hash selects which partition. Accounts would move to other partitions
/// (seen on 3.10.8 and 4.0.5). So workers bind it; see [`ring`].
fn hash(names: &Names) -> Component {
    let kind = ExchangeKind::Custom("x-consistent-hash".to_owned());
    let by_account = vec![("hash-header", text(ACCOUNT_HEADER))];
    Component::Exchange(Exchange {
        durable: false,
        // Workers forward messages from the intake to it.
        internal: false,
        ..exchange(&names.hash(), kind, by_account)
    })
}

/// The hash exchange and its ring of bindings, to be declared in this order.
pub(super) fn ring(names: &Names, partitions: u16) -> Vec<Component> {
    let to = |number| To::Exchange(names.partition(number));
    let bindings = (0..partitions).map(|number| bind(&names.hash(), to(number), "1"));
    std::iter::once(hash(names)).chain(bindings).collect()
}

/// The binding from the entrance to the ring. RabbitMQ deletes it with the ring.
pub(super) fn entrance_binding(names: &Names) -> Component {
    bind(&names.entrance(), To::Exchange(names.hash()), "")
}

/// The exchange for messages with the header, and a queue that is always full: it rejects messages
/// while the entrance is not bound. Without it, the broker would confirm and drop them.
fn entrance(names: &Names) -> Vec<Component> {
    let closed = names.closed();
    let no_room = vec![("x-max-length", number(0))];
    vec![
        internal(&closed, ExchangeKind::Fanout, vec![]),
        // Not a quorum queue, which accepts one message before it is full.
        queue(&closed, refusing(no_room)),
        bind(&closed, To::Queue(closed.clone()), ""),
        internal(
            &names.entrance(),
            ExchangeKind::Fanout,
            vec![alternate(&closed)],
        ),
    ]
}

/// The routing of requests about a tenant from an exchange to each partition, whatever the header
/// `account` has selected.
fn about_tenants(names: &Names, from: &str) -> [Component; 2] {
    let to_each = |kind| bind(from, To::Exchange(names.each_partition()), &keys_of(kind));
    [Kind::Accounts, Kind::Totals].map(to_each)
}

/// Queues of messages without the header, which wait until a worker adds it, and their routing.
fn intake(names: &Names) -> Vec<Component> {
    let (intake, request_queue, event_queue) = (
        names.intake(),
        names.intake_requests(),
        names.intake_events(),
    );
    let route = |queue: &str, kind| bind(&intake, To::Queue(queue.to_owned()), &keys_of(kind));
    let unrouted = vec![alternate(&names.unrouted())];
    let mut components = vec![
        internal(&intake, ExchangeKind::Topic, unrouted),
        queue(&request_queue, requests()),
        // The broker has confirmed these, so they stay until a worker runs, as in a log. Log time
        // stands still until then.
        queue(
            &event_queue,
            refusing(bounded(MAX_EVENTS, EVENT_DELIVERIES)),
        ),
        route(&request_queue, Kind::Init),
        route(&request_queue, Kind::Status),
        route(&event_queue, Kind::Heartbeat),
        route(&event_queue, Kind::Stop),
        route(&event_queue, Kind::Batch),
        internal(
            &names.by_header(),
            ExchangeKind::Headers,
            vec![alternate(&intake)],
        ),
        Component::Binding(Binding {
            from: names.by_header(),
            to: To::Exchange(names.entrance()),
            key: String::new(),
            // Without a value, any value of the header matches.
            arguments: vec![("x-match", text("all")), (ACCOUNT_HEADER, AMQPValue::Void)],
        }),
    ];
    components.extend(about_tenants(names, &intake));
    components
}

fn unrouted(names: &Names) -> Vec<Component> {
    let unrouted = names.unrouted();
    vec![
        internal(&unrouted, ExchangeKind::Fanout, vec![]),
        queue(&unrouted, expiring(bounded(MAX_UNROUTED, DELIVERY_LIMIT))),
        bind(&unrouted, To::Queue(unrouted.clone()), ""),
    ]
}

fn partition(names: &Names, number: u16, retention: Retention) -> Vec<Component> {
    let exchange = names.partition(number);
    let (log, init) = (names.log(number), names.init(number));
    let route = |queue: &str, kind| bind(&exchange, To::Queue(queue.to_owned()), &keys_of(kind));
    let unrouted = vec![alternate(&names.unrouted())];
    vec![
        internal(&exchange, ExchangeKind::Topic, unrouted),
        queue(&init, requests()),
        Component::Queue(Queue {
            kind: QueueKind::Log,
            name: log.clone(),
            arguments: entries(retention),
        }),
        Component::Queue(Queue {
            kind: QueueKind::Snapshots,
            name: names.snapshots(number),
            arguments: snapshots(retention),
        }),
        route(&log, Kind::Heartbeat),
        route(&log, Kind::Stop),
        route(&log, Kind::Batch),
        route(&init, Kind::Init),
    ]
}
