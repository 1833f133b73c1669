//! The retention of logs and snapshots, and the TTL of requests.

use std::time::Duration;

use crate::domain::REQUEST_QUEUE_MS;

/// Longest time that a request is queued or redelivered.
pub const REQUEST_TTL: Duration = Duration::from_millis(REQUEST_QUEUE_MS);

/// The retention of a partition's log and snapshots. RabbitMQ deletes whole segments, whenever it
/// starts a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The age from which entries may be deleted.
    pub max_age: Duration,
    /// Size of the kept log, in bytes, whatever its age. Far more than the entries between two
    /// snapshots must fit, or workers that start miss entries.
    pub log_bytes: u64,
    /// Size of a segment, in bytes.
    pub segment_bytes: u64,
    /// Size of the kept snapshots, in bytes. Two complete snapshots and an unfinished one must fit.
    pub snapshot_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(4 * 3600),
            log_bytes: 32 * 1024 * 1024 * 1024,
            segment_bytes: 64 * 1024 * 1024,
            snapshot_bytes: 2 * 1024 * 1024 * 1024,
        }
    }
}
