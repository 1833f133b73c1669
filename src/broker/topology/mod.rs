//! The exchanges, queues and permissions of an installation.
//!
//! `components` lists the exchanges, queues and bindings, and `roles` the permissions. The other
//! modules declare, inspect, delete and export these lists.

mod components;
mod declare;
mod definitions;
mod delete;
mod mqtt;
mod ring;
mod roles;
mod show;

use std::time::Duration;

pub use declare::{Topology, declare};
pub use definitions::{definitions, permissions};
pub use delete::delete;
pub use mqtt::{enable_mqtt, is_mqtt_enabled};
pub use ring::open_partitions;
pub use roles::{Role, RoleScope, TopicPermission, roles};
pub use show::{QueueState, followable, missing_exchanges, partitions, show};

use crate::domain::REQUEST_QUEUE_MS;

/// Longest time that a request is queued or redelivered.
pub const REQUEST_TTL: Duration = Duration::from_millis(REQUEST_QUEUE_MS);

/// The retention of a partition's log and snapshots. RabbitMQ deletes whole segments, whenever it
/// starts a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The age from which entries may be deleted.
    pub max_age: Duration,
    /// Size of a segment, in bytes.
    pub segment_bytes: u64,
    /// Size of the kept snapshots, in bytes. Two complete snapshots and an unfinished one must fit.
    pub snapshot_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(4 * 3600),
            segment_bytes: 64 * 1024 * 1024,
            snapshot_bytes: 2 * 1024 * 1024 * 1024,
        }
    }
}
