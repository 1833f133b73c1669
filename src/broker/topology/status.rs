//! The routing of `status` requests: to a worker on the publisher's node, else to a shared queue.
//!
//! A quorum queue takes most of the time of a `status` request. So, on RabbitMQ 4 and later, each
//! worker has a *local queue* of its own behind an exchange of type `x-local-random`, which selects
//! a queue on the node that received the request. The *shared queue*, a quorum queue, receives the
//! requests without a local queue, and those that a local queue cannot deliver at once: its worker
//! is lost, has its prefetch unacknowledged, or rejects the request. A local queue never stores a
//! request. RabbitMQ takes some milliseconds to delete one, and drops the requests that it routes
//! there meanwhile. So a worker unbinds its queue first, and another worker unbinds the queue of a
//! worker that was killed.

use lapin::{Channel, ExchangeKind, options::QueueDeclareOptions, types::FieldTable};

use super::{
    arguments::{alternate, requests},
    component::{Arguments, Component, To, bind, internal, keys_of, number, queue, table, text},
};
use crate::{
    broker::{BrokerError, Connection, Names, connect::within},
    wire::Kind,
};

/// The type of the exchange in front of local queues.
const LOCAL_RANDOM: &str = "x-local-random";
/// Major version of RabbitMQ that introduced it.
const SINCE: u32 = 4;
/// Time in a local queue after which a request moves to the shared queue, in milliseconds: with 0, a
/// request moves unless a consumer takes it at once.
const MOVES_AFTER_MS: i64 = 0;
/// Time without a consumer after which RabbitMQ deletes a local queue, in milliseconds. Until then,
/// requests to a killed worker pass through it to the shared queue, if it is bound. Another worker
/// unbinds it after ten tick intervals, at most 10 s.
const UNUSED_MS: i64 = 60_000;

/// The routing of `status` requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRouting {
    /// To a worker's local queue, else to the shared queue. Needs RabbitMQ 4 or later.
    Local,
    /// To the shared queue.
    Shared,
}

impl StatusRouting {
    /// The fastest routing that the broker of this connection supports.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub(in crate::broker) async fn of(connection: &Connection) -> Result<Self, BrokerError> {
        let (major, ..) = connection.greeting().await?.numbers();
        Ok(if major >= SINCE {
            Self::Local
        } else {
            Self::Shared
        })
    }
}

/// The components that route a partition's `status` requests.
pub(super) fn status(names: &Names, partition: u16, routing: StatusRouting) -> Vec<Component> {
    let (from, shared_queue) = (names.partition(partition), names.status(partition));
    let to_queue = To::Queue(shared_queue.clone());
    let mut components = vec![queue(&shared_queue, requests())];
    match routing {
        StatusRouting::Shared => components.push(bind(&from, to_queue, &keys_of(Kind::Status))),
        StatusRouting::Local => {
            let (local, shared) = (names.status(partition), names.shared_status(partition));
            let kind = ExchangeKind::Custom(LOCAL_RANDOM.to_owned());
            components.extend([
                internal(&shared, ExchangeKind::Fanout, vec![]),
                bind(&shared, to_queue, ""),
                internal(&local, kind, vec![alternate(&shared)]),
                bind(&from, To::Exchange(local), &keys_of(Kind::Status)),
            ]);
        }
    }
    components
}

/// Removes the binding of [`StatusRouting::Shared`], which would route each request twice. For a
/// topology that was declared on RabbitMQ 3.
pub(super) async fn unbind_shared(
    channel: &Channel,
    names: &Names,
    partition: u16,
) -> Result<(), BrokerError> {
    let (queue, from) = (names.status(partition), names.partition(partition));
    unbind(channel, queue, from, &keys_of(Kind::Status)).await
}

/// Declares a local queue, and lets requests reach it.
pub(in crate::broker) async fn add_local_queue(
    channel: &Channel,
    names: &Names,
    partition: u16,
    queue: &str,
) -> Result<(), BrokerError> {
    let arguments = table(local(&names.shared_status(partition)));
    // RabbitMQ 4.3 has no transient queues for several connections.
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(queue.into(), options, arguments);
    within("declaring a local queue", declared).await?;
    bind_local_queue(channel, names, partition, queue).await
}

/// Lets requests reach a local queue that exists.
pub(in crate::broker) async fn bind_local_queue(
    channel: &Channel,
    names: &Names,
    partition: u16,
    queue: &str,
) -> Result<(), BrokerError> {
    let from = names.status(partition);
    let binding = bind(&from, To::Queue(queue.to_owned()), "");
    binding.declare(channel).await
}

/// Keeps further requests from reaching a local queue. RabbitMQ deletes it when it is unused.
pub(in crate::broker) async fn remove_local_queue(
    channel: &Channel,
    names: &Names,
    partition: u16,
    queue: &str,
) -> Result<(), BrokerError> {
    unbind(channel, queue.to_owned(), names.status(partition), "").await
}

async fn unbind(
    channel: &Channel,
    queue: String,
    from: String,
    key: &str,
) -> Result<(), BrokerError> {
    let none = FieldTable::default();
    let unbound = channel.queue_unbind(queue.into(), from.into(), key.into(), none);
    within("unbinding a queue", unbound).await
}

fn local(shared: &str) -> Arguments {
    vec![
        ("x-queue-type", text("classic")),
        // On the node of the declaring connection, whatever the broker's default.
        ("x-queue-leader-locator", text("client-local")),
        ("x-expires", number(UNUSED_MS)),
        ("x-message-ttl", number(MOVES_AFTER_MS)),
        ("x-dead-letter-exchange", text(shared)),
    ]
}
