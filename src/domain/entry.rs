//! Entries of a log: everything that changes state.

use super::{
    AccountKey, LogTime, Metadata, Reading, RequestId, Settings, StreamId, Tenant, WallTime,
};

/// Most streams that one request to open may replace.
pub const MAX_REPLACED: usize = 16;

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A player's sign of life; straight from the player.
    Heartbeat {
        /// Whose stream.
        key: AccountKey,
        /// Which stream.
        stream: StreamId,
        /// The interval of heartbeats that the player was last sent, in milliseconds, where it
        /// names one.
        every_ms: Option<u32>,
        /// Replaces the old, where given.
        metadata: Option<Metadata>,
    },
    /// The end of a stream; straight from the player.
    Stop {
        /// Whose stream.
        key: AccountKey,
        /// Which stream.
        stream: StreamId,
    },
    /// An entry that a worker or an operator appended.
    Internal {
        /// Its writer and number.
        mark: Mark,
        /// The writer's clocks. `None` if the writer had not caught up; the entry has no time then.
        reading: Option<Reading>,
        /// Its content.
        body: Internal,
    },
}

/// Marks one entry of one writer: no two entries of a log have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// A random number for each life of a writer.
    pub writer: u64,
    /// Counts the writer's entries.
    pub seq: u64,
}

/// The content of internal entries, which players cannot write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Internal {
    /// A tick. Repeats the settings, so that a truncated log still has them.
    Tick(Option<Settings>),
    /// A worker has attached to the log and begins to catch up.
    Join {
        /// The worker's wall clock.
        wall: WallTime,
    },
    /// A proposal to open a stream, decided at this entry.
    Open(Box<Open>),
    /// New settings. They take effect here, if their number is the highest so far.
    Settings {
        /// All of them, changed or not.
        settings: Settings,
        /// The writer's wall clock: the first settings begin the log's time.
        wall: WallTime,
    },
    /// A partition, or a tenant in it, is full or free again.
    Capacity(CapacityChange),
    /// Lifecycle events were published and confirmed.
    Announced {
        /// The events of all entries up to this offset.
        up_to: u64,
    },
}

/// A proposal to open a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// For which account.
    pub key: AccountKey,
    /// Which stream.
    pub stream: StreamId,
    /// The request behind it: the same for every proposal of one request.
    pub request: RequestId,
    /// Past this the proposal is void.
    pub not_after: LogTime,
    /// Open only if, with it, the account has at most so many active streams.
    pub max_active: Option<u32>,
    /// Streams to stop in the same step.
    pub replace: Vec<StreamId>,
    /// Its metadata.
    pub metadata: Metadata,
}

/// A soft limit was reached, or is no longer. The partition's leader appends these from its
/// counts; the rules read only the entries, so all replicas refuse alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityChange {
    /// One tenant of the partition, or all of it.
    pub tenant: Option<Tenant>,
    /// No new stream is taken from here on; or again.
    pub full: bool,
}
