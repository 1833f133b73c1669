//! Deleting what the shape lists.

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};

use super::{
    Retention,
    shape::{Part, shape},
};
use crate::broker::{BrokerError, Link, Names, connect::within};

/// Deletes everything, with all that is in it: first what messages come in by.
///
/// # Errors
/// Where the broker refuses. What is not there is no error.
pub async fn delete(link: &Link, names: &Names) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    for part in shape(names, Retention::default()).into_iter().rev() {
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
