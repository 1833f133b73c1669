//! The variable parts of a topology.

use super::{Retention, StatusRouting};

/// The variable parts of a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The number of partitions.
    pub partitions: u16,
    /// The retention of each partition.
    pub retention: Retention,
    /// The routing of `status` requests.
    pub status: StatusRouting,
}

impl Layout {
    /// A layout with the default retention, and the components of every routing.
    pub(super) fn of(partitions: u16) -> Self {
        Self {
            partitions,
            retention: Retention::default(),
            status: StatusRouting::Local,
        }
    }
}
