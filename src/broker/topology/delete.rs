//! Deleting the components of a topology.

use lapin::{
    Channel,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};

use super::{Layout, component::Component, components::components};
use crate::{
    broker::{BrokerError, Connection, Names, connect::within},
    domain::Settings,
};

/// Deletes a topology of any number of partitions, with its messages. Deletes the exchanges of
/// players first, so that no message is published meanwhile, and the lowest partition last, so that
/// a later declaration detects an interrupted deletion.
///
/// # Errors
/// If the broker refuses. Missing queues and exchanges are not an error.
pub async fn delete(connection: &Connection, names: &Names) -> Result<(), BrokerError> {
    let channel = connection.channel().await?;
    delete_exchange(&channel, names.exchange()).await?;
    delete_exchange(&channel, &names.mqtt_entrance()).await?;
    for component in components(names, &Layout::of(Settings::MAX_PARTITIONS)) {
        match component {
            Component::Exchange(it) => delete_exchange(&channel, &it.name).await?,
            Component::Queue(it) => {
                let options = QueueDeleteOptions::default();
                let deleted = channel.queue_delete(it.name.into(), options);
                within("deleting a queue", deleted).await?;
            }
            // RabbitMQ deletes them with their exchanges.
            Component::Binding(_) => {}
        }
    }
    Ok(())
}

/// Deletes an exchange and its bindings, if it exists.
pub(super) async fn delete_exchange(channel: &Channel, name: &str) -> Result<(), BrokerError> {
    let deleted = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
    within("deleting an exchange", deleted).await
}
