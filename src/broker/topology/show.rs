//! The state of queues in RabbitMQ.

use lapin::{
    ExchangeKind, Queue,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
};

use super::{Layout, StatusRouting, component::Component, components::components};
use crate::{
    broker::{
        BrokerError, Connection, LogFollower, LogFrom, Names,
        connect::{once_available, within},
    },
    domain::Settings,
};

/// A queue as RabbitMQ reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// The name.
    pub name: String,
    /// The number of messages; `None` if the queue does not exist.
    pub messages: Option<u32>,
    /// The number of consumers.
    pub consumers: u32,
}

/// Counts partitions by consecutive logs, for operators. `None` if there is no topology, or if its
/// declaration was interrupted. Reads no log: after an outage, that would take as long as the
/// outage.
///
/// # Errors
/// If the broker cannot be reached.
pub async fn partitions(
    connection: &Connection,
    names: &Names,
) -> Result<Option<u16>, BrokerError> {
    let mut count = 0;
    while count < Settings::MAX_PARTITIONS && queue_exists(connection, &names.log(count)).await? {
        count += 1;
    }
    Ok((count > 0).then_some(count))
}

/// Counts partitions by consecutive logs, for workers. `None` if there is no topology. Consumes
/// from each log for a moment, because RabbitMQ 4.2.6 and 4.3.0 require configure permission for
/// passive declares. Reads no entry.
///
/// # Errors
/// If the broker cannot be reached.
pub async fn partition_count(
    connection: &Connection,
    names: &Names,
) -> Result<Option<u16>, BrokerError> {
    let mut count = 0;
    while count < Settings::MAX_PARTITIONS {
        match LogFollower::attach_with(connection, &names.log(count), LogFrom::Next, 1).await {
            // The log exists, perhaps with replicas on other nodes only.
            Ok(_) | Err(BrokerError::Unavailable(_)) => count += 1,
            Err(BrokerError::NotFound(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok((count > 0).then_some(count))
}

/// Returns the state of each queue of a topology with this number of partitions.
///
/// # Errors
/// If the broker cannot be reached.
pub async fn show(
    connection: &Connection,
    names: &Names,
    partitions: u16,
) -> Result<Vec<QueueState>, BrokerError> {
    let mut states = Vec::new();
    for component in components(names, &Layout::of(partitions)) {
        let Component::Queue(queue) = component else {
            continue;
        };
        let found = inspect(connection, &queue.name).await?;
        states.push(QueueState {
            name: queue.name,
            messages: found.as_ref().map(Queue::message_count),
            consumers: found.map_or(0, |it| it.consumer_count()),
        });
    }
    states.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(states)
}

/// Returns the missing exchanges of a topology with this number of partitions. Bindings cannot be
/// checked over AMQP; a routed message proves them.
///
/// # Errors
/// If the broker cannot be reached.
pub async fn missing_exchanges(
    connection: &Connection,
    names: &Names,
    partitions: u16,
) -> Result<Vec<String>, BrokerError> {
    let layout = Layout {
        status: StatusRouting::of(connection).await?,
        ..Layout::of(partitions)
    };
    let mut missing = Vec::new();
    for component in components(names, &layout) {
        let Component::Exchange(exchange) = component else {
            continue;
        };
        if !exchange_exists(connection, &exchange.name).await? {
            missing.push(exchange.name);
        }
    }
    Ok(missing)
}

pub(super) async fn exchange_exists(
    connection: &Connection,
    exchange: &str,
) -> Result<bool, BrokerError> {
    let channel = connection.channel().await?;
    let declared = channel.exchange_declare(
        exchange.into(),
        // Ignored in a passive declaration.
        ExchangeKind::Topic,
        ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        },
        FieldTable::default(),
    );
    match within("inspecting an exchange", declared).await {
        Ok(()) => Ok(true),
        Err(BrokerError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) async fn queue_exists(
    connection: &Connection,
    queue: &str,
) -> Result<bool, BrokerError> {
    Ok(inspect(connection, queue).await?.is_some())
}

pub(super) async fn inspect(
    connection: &Connection,
    queue: &str,
) -> Result<Option<Queue>, BrokerError> {
    let declared = once_available(async || {
        // RabbitMQ closes the channel of a failed passive declaration.
        let channel = connection.channel().await?;
        let options = QueueDeclareOptions::default().passive();
        let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
        within("inspecting a queue", declared).await
    });
    match declared.await {
        Ok(queue) => Ok(Some(queue)),
        Err(BrokerError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
