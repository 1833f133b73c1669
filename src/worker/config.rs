//! The configuration of a worker.

use std::net::SocketAddr;

use super::{Declaration, Grace, PartitionList};
use crate::broker::{Addresses, Names};

/// The configuration of a worker.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses of RabbitMQ.
    pub addresses: Addresses,
    /// The names of exchanges and queues.
    pub names: Names,
    /// The topology to declare first, if any.
    pub declare: Option<Declaration>,
    /// The partitions to follow; all if `None`.
    pub partitions: Option<PartitionList>,
    /// The address that serves `/healthz`, `/readyz` and `/metrics`; none if `None`.
    pub http: Option<SocketAddr>,
    /// Time limit of a shutdown.
    pub grace: Grace,
}
