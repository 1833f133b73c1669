//! Declaring the components of a topology.

use lapin::{
    Channel,
    options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};

use super::{
    Layout, Retention, StatusRouting,
    component::{Arguments, Binding, Component, Exchange, Queue, QueueKind, To},
    components::components,
    show::queue_exists,
    status::unbind_shared,
};
use crate::broker::{BrokerError, Link, Names, connect::within};

/// The result of a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The number of partitions.
    pub partitions: u16,
    /// The number of new logs. An existing log keeps its retention.
    pub new_logs: u16,
}

/// Declares a topology of `wanted` partitions; by default of as many as are `there`, else of one.
/// Keeps existing queues and exchanges with equal properties. A repetition completes an interrupted
/// declaration.
///
/// # Errors
/// [`BrokerError::OtherPartitions`] if the topology exists with another number of partitions,
/// `NoPlugin` if RabbitMQ does not support the exchange that several partitions need,
/// `Precondition` if an exchange or a queue exists with other properties, `AccessRefused` if the
/// user may not configure it.
pub async fn declare(
    link: &Link,
    names: &Names,
    there: Option<u16>,
    wanted: Option<u16>,
    retention: Retention,
) -> Result<Topology, BrokerError> {
    let partitions = wanted.or(there).unwrap_or(1);
    if let Some(there) = there.filter(|there| *there != partitions) {
        let wanted = partitions;
        return Err(BrokerError::OtherPartitions { there, wanted });
    }
    let beyond = names.log(partitions);
    if queue_exists(link, &beyond).await? {
        return Err(BrokerError::Precondition(format!(
            "{beyond} remains of a topology with more partitions: run `streamwatch topology \
             delete --yes` first"
        )));
    }
    let layout = Layout {
        partitions,
        retention,
        status: StatusRouting::of(link).await?,
    };
    let channel = link.channel().await?;
    let mut new_logs = partitions;
    for component in components(names, &layout) {
        if let Component::Queue(it) = &component
            && it.kind != QueueKind::Messages
            && queue_exists(link, &it.name).await?
        {
            new_logs -= u16::from(it.kind == QueueKind::Log);
        } else {
            declare_component(&channel, component).await?;
        }
    }
    if layout.status == StatusRouting::Local {
        for partition in 0..partitions {
            unbind_shared(&channel, names, partition).await?;
        }
    }
    Ok(Topology {
        partitions,
        new_logs,
    })
}

/// Declares one component.
pub(super) async fn declare_component(
    channel: &Channel,
    component: Component,
) -> Result<(), BrokerError> {
    match component {
        Component::Exchange(it) => exchange(channel, it).await,
        Component::Queue(it) => queue(channel, it).await,
        Component::Binding(it) => bind(channel, it).await,
    }
}

async fn exchange(channel: &Channel, it: Exchange) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        durable: it.durable,
        internal: it.internal,
        ..ExchangeDeclareOptions::default()
    };
    let arguments = table(it.arguments);
    let declared = channel.exchange_declare(it.name.into(), it.kind, options, arguments);
    within("declaring an exchange", declared).await
}

async fn queue(channel: &Channel, it: Queue) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(it.name.into(), options, table(it.arguments));
    within("declaring a queue", declared).await.map(drop)
}

async fn bind(channel: &Channel, it: Binding) -> Result<(), BrokerError> {
    let (from, key, arguments) = (it.from.into(), it.key.into(), table(it.arguments));
    match it.to {
        To::Exchange(to) => {
            let options = ExchangeBindOptions::default();
            let bound = channel.exchange_bind(to.into(), from, key, options, arguments);
            within("binding an exchange", bound).await
        }
        To::Queue(to) => {
            let options = QueueBindOptions::default();
            let bound = channel.queue_bind(to.into(), from, key, options, arguments);
            within("binding a queue", bound).await
        }
    }
}

pub(super) fn table(arguments: Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert(key.into(), value);
    }
    table
}
