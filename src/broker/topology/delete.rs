//! Deleting what the shape lists.

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};

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
/// Where the broker refuses. What is not there is no error.
pub async fn delete(link: &Link, names: &Names) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    let players = names.exchange().into();
    let deleted = channel.exchange_delete(players, ExchangeDeleteOptions::default());
    within("deleting an exchange", deleted).await?;
    for part in shape(names, Settings::MAX_PARTITIONS, Retention::default()) {
        match part {
            Part::Exchange(it) => {
                let options = ExchangeDeleteOptions::default();
                let deleted = channel.exchange_delete(it.name.into(), options);
                within("deleting an exchange", deleted).await?;
            }
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
