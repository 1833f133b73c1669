//! Errors that end a worker.

use crate::ops::HttpError;

/// An error that ends a worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The HTTP endpoints could not be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The list of partitions contains a number that the topology does not have.
    #[error(
        "there is no partition {partition}: the topology has {partitions}, numbered from 0 to {}; change \
         --partitions (STREAMWATCH_PARTITIONS), or leave it out to follow all",
        partitions - 1
    )]
    NoSuchPartition {
        /// The highest number of the list.
        partition: u16,
        /// Number of partitions, at least 1.
        partitions: u16,
    },
    /// A task panicked, which is a bug.
    #[error("the task of a partition ended unexpectedly: {0}")]
    Task(String),
}
