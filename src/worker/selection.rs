//! The partitions that a worker follows: all, or a list.

use super::{Config, PartitionList, WorkerError, retry::Retry};
use crate::{
    broker::{BrokerError, Connection, topology},
    ops::Health,
};

/// The partitions that a worker follows.
pub(super) struct Selection {
    /// Number of partitions of the topology.
    pub(super) partitions: u16,
    /// The partitions of this worker, in ascending order.
    pub(super) numbers: Vec<u16>,
}

impl Selection {
    /// Waits until the topology exists, and selects its partitions.
    ///
    /// Counts the logs, which is cheap. Reading the settings would require reading all entries
    /// since the last worker stopped. The number is compared with the settings once a partition's
    /// log has delivered them.
    pub(super) async fn find(config: &Config, health: &Health) -> Result<Self, WorkerError> {
        let mut retry = Retry::new("cannot find the partitions", None, &config.addresses);
        let partitions = loop {
            match count(config, retry.failures).await {
                Ok(partitions) => break partitions,
                Err(error) => retry.after(&error, |reason| health.waits(reason)).await,
            }
        };
        let numbers = chosen(config.partitions.as_ref(), partitions)?;
        Ok(Self {
            partitions,
            numbers,
        })
    }
}

async fn count(config: &Config, n: usize) -> Result<u16, BrokerError> {
    let name = "streamwatch worker, looking for partitions";
    let connection = Connection::open(&config.addresses, n, name).await?;
    let found = topology::partition_count(&connection, &config.names).await?;
    connection.close().await;
    found.ok_or_else(|| BrokerError::NotFound(format!("no queue {}", config.names.log(0))))
}

fn chosen(list: Option<&PartitionList>, partitions: u16) -> Result<Vec<u16>, WorkerError> {
    let Some(PartitionList(list)) = list else {
        return Ok((0..partitions).collect());
    };
    match list.last() {
        Some(&partition) if partition >= partitions => Err(WorkerError::NoSuchPartition {
            partition,
            partitions,
        }),
        _ => Ok(list.iter().copied().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_a_missing_partition_is_an_error() {
        let list: PartitionList = "1,3".parse().unwrap();
        assert_eq!(chosen(Some(&list), 4).unwrap(), [1, 3]);
        assert_eq!(chosen(None, 2).unwrap(), [0, 1]);
        let error = chosen(Some(&list), 2).unwrap_err().to_string();
        assert!(error.contains("partition 3"), "{error}");
    }
}
