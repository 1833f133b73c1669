//! The state of queues in RabbitMQ.

use lapin::{
    ExchangeKind, Queue,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
};

use super::{
    Retention,
    shape::{Part, shape},
};
use crate::{
    broker::{BrokerError, Link, LogFollower, LogFrom, Names, connect::within},
    domain::Settings,
};

/// A queue as RabbitMQ reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// Messages in it; `None` where it does not exist.
    pub messages: Option<u32>,
    /// Its consumers.
    pub consumers: u32,
}

/// How many partitions there are, for operators: so many logs follow one another. `None` where
/// there is no topology, or one whose declaration broke off. Reads no log: after an outage that
/// would take as long as the outage was.
///
/// # Errors
/// If the broker cannot be reached.
pub async fn partitions(link: &Link, names: &Names) -> Result<Option<u16>, BrokerError> {
    let mut there = 0;
    while there < Settings::MAX_PARTITIONS && exists(link, &names.log(there)).await? {
        there += 1;
    }
    Ok((there > 0).then_some(there))
}

/// Counts partitions by consecutive logs, for workers. `None` if there is no topology. Consumes
/// from each log for a moment, because RabbitMQ 4.2.6 and 4.3.0 require configure permission for
/// passive declares. Reads no entry.
///
/// # Errors
/// If the broker cannot be reached.
pub async fn followable(link: &Link, names: &Names) -> Result<Option<u16>, BrokerError> {
    let mut there = 0;
    while there < Settings::MAX_PARTITIONS {
        match LogFollower::attach_with(link, &names.log(there), LogFrom::Next, 1).await {
            // The log is there, with replicas on other nodes.
            Ok(_) | Err(BrokerError::Precondition(_)) => there += 1,
            Err(BrokerError::NotFound(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok((there > 0).then_some(there))
}

/// Returns the state of each queue of a topology with this number of partitions.
///
/// # Errors
/// If the broker cannot be reached.
pub async fn show(
    link: &Link,
    names: &Names,
    partitions: u16,
) -> Result<Vec<QueueState>, BrokerError> {
    let mut states = Vec::new();
    for part in shape(names, partitions, Retention::default()) {
        let Part::Queue(queue) = part else {
            continue;
        };
        let found = look(link, &queue.name).await?;
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
    link: &Link,
    names: &Names,
    partitions: u16,
) -> Result<Vec<String>, BrokerError> {
    let mut missing = Vec::new();
    for part in shape(names, partitions, Retention::default()) {
        let Part::Exchange(exchange) = part else {
            continue;
        };
        if !has_exchange(link, &exchange.name).await? {
            missing.push(exchange.name);
        }
    }
    Ok(missing)
}

/// The exchange is there.
pub(super) async fn has_exchange(link: &Link, exchange: &str) -> Result<bool, BrokerError> {
    let channel = link.channel().await?;
    let asked = channel.exchange_declare(
        exchange.into(),
        // Not compared with what is there.
        ExchangeKind::Topic,
        ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        },
        FieldTable::default(),
    );
    match within("looking at an exchange", asked).await {
        Ok(()) => Ok(true),
        Err(BrokerError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The queue is there.
pub(super) async fn exists(link: &Link, queue: &str) -> Result<bool, BrokerError> {
    Ok(look(link, queue).await?.is_some())
}

pub(super) async fn look(link: &Link, queue: &str) -> Result<Option<Queue>, BrokerError> {
    // A passive declaration that fails takes its channel with it.
    let channel = link.channel().await?;
    let options = QueueDeclareOptions::default().passive();
    let asked = channel.queue_declare(queue.into(), options, FieldTable::default());
    match within("looking at a queue", asked).await {
        Ok(queue) => Ok(Some(queue)),
        Err(BrokerError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
