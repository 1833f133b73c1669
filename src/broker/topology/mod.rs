//! The exchanges and queues of an installation: declared, looked at, deleted, written down as
//! definitions; and who may do what with them.
//!
//! `shape` is the list of them, `roles` that of the permissions; the rest works from these.

mod declare;
mod definitions;
mod delete;
mod mqtt;
mod ring;
mod roles;
mod shape;
mod show;

use std::time::Duration;

pub use declare::{Topology, declare};
pub use definitions::{definitions, permissions};
pub use delete::delete;
pub use mqtt::{is_let_in_by_mqtt, let_in_by_mqtt};
pub use ring::open_partitions;
pub use roles::{Role, TopicPermission, Whose, roles};
pub use show::{QueueState, followable, missing_exchanges, partitions, show};

use crate::domain::REQUEST_QUEUE_MS;

/// How long a request waits in its queue: no redelivery comes later.
pub const REQUEST_TTL: Duration = Duration::from_millis(REQUEST_QUEUE_MS);

/// How a log and its snapshots are kept on disk. RabbitMQ frees whole segments, when a new one
/// begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Entries older than this may go.
    pub max_age: Duration,
    /// Bytes of one segment.
    pub segment_bytes: u64,
    /// Bytes of the newest snapshots that are kept. Two whole ones and one being written must fit.
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
