//! Declaring the components of a topology.

use super::{
    Layout, Retention, StatusRouting,
    component::{Component, QueueKind},
    components::components,
    show::queue_exists,
    status::unbind_shared,
};
use crate::broker::{BrokerError, Connection, Names};

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
    connection: &Connection,
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
    if queue_exists(connection, &beyond).await? {
        return Err(BrokerError::Precondition(format!(
            "{beyond} remains of a topology with more partitions: run `streamwatch topology \
             delete --yes` first"
        )));
    }
    let layout = Layout {
        partitions,
        retention,
        status: StatusRouting::of(connection).await?,
    };
    let channel = connection.channel().await?;
    let mut new_logs = partitions;
    for component in components(names, &layout) {
        if let Component::Queue(it) = &component
            && it.kind != QueueKind::Messages
            && queue_exists(connection, &it.name).await?
        {
            new_logs -= u16::from(it.kind == QueueKind::Log);
        } else {
            component.declare(&channel).await?;
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
