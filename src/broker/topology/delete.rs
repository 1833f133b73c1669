//! Deleting what the shape lists.

use lapin::{
    Channel,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};

use super::{
    Retention,
    shape::{Part, shape},
};
use crate::{
    broker::{BrokerError, Link, Names, connect::within},
    domain::Settings,
};

/// Deletes everything, with all that is in it and whatever the number of partitions: first what
/// messages come in by, last the lowest partition. So what is left by one that breaks off is seen
/// by the next declaration.
///
/// # Errors
/// If the broker refuses. Missing queues and exchanges are not an error.
pub async fn delete(link: &Link, names: &Names) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    delete_exchange(&channel, names.exchange()).await?;
    delete_exchange(&channel, &names.mqtt_entrance()).await?;
    for part in shape(names, Settings::MAX_PARTITIONS, Retention::default()) {
        match part {
            Part::Exchange(it) => delete_exchange(&channel, &it.name).await?,
            Part::Queue(it) => {
                let options = QueueDeleteOptions::default();
                let deleted = channel.queue_delete(it.name.into(), options);
                within("deleting a queue", deleted).await?;
            }
            // They go with their exchanges.
            Part::Binding(_) => {}
        }
    }
    Ok(())
}

/// Deletes an exchange and its bindings, if it is there.
pub(super) async fn delete_exchange(channel: &Channel, name: &str) -> Result<(), BrokerError> {
    let deleted = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
    within("deleting an exchange", deleted).await
}
