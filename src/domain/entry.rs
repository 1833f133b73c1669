//! Entries of a log, the only inputs that change the state.

use serde::{Deserialize, Serialize};

use super::{
    AccountKey, Batch, Limit, LogTime, Metadata, PlayerEvent, RequestId, Settings, StreamId,
    Tenant, Terms, WallTime, WorkerState,
};

/// Maximum number of streams that one `init` may replace.
pub const MAX_REPLACED: usize = 16;

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A heartbeat or a stop, published by a player or a backend.
    Player {
        /// The account.
        key: AccountKey,
        /// The event.
        event: PlayerEvent,
    },
    /// Heartbeats and stops in one message, published by a backend or an edge.
    Batch(Batch),
    /// An entry that a worker or an operator appended.
    Internal(InternalEntry),
}

/// An entry that a worker or an operator appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalEntry {
    /// Its writer and number.
    pub entry_id: EntryId,
    /// The state of its writer. `None` if the writer had not caught up.
    pub writer_state: Option<WorkerState>,
    /// Its content.
    pub body: Internal,
}

/// The identity of an internal entry, unique in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EntryId {
    /// A random number that a writer chooses at its start.
    pub writer: u64,
    /// The number of the entry among the writer's entries.
    pub seq: u64,
}

/// The content of internal entries, which players cannot write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Internal {
    /// A tick. Repeats the settings, so that a truncated log still has them.
    Tick(Option<Settings>),
    /// A worker has attached to the log and is catching up.
    Join {
        /// The worker's wall clock.
        wall: WallTime,
    },
    /// A proposal, decided at this entry.
    Open(Box<Open>),
    /// New settings, which take effect here if their number is the highest so far.
    Settings {
        /// All settings, unchanged ones included.
        settings: Settings,
        /// The writer's wall clock, as the first settings start the log's time.
        wall: WallTime,
    },
    /// The partition, or a tenant in it, is full or no longer full.
    Capacity(CapacityChange),
    /// Lifecycle events were published and confirmed.
    Announced {
        /// The offset up to which the events of all entries were published.
        up_to: u64,
    },
}

/// A proposal: an `init` in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The account.
    pub key: AccountKey,
    /// The stream.
    pub stream: StreamId,
    /// The request, the same in every proposal of one request.
    pub request: RequestId,
    /// The log time after which the proposal has expired.
    pub not_after: LogTime,
    /// Maximum number of the account's active streams, the new one included.
    pub max_active: Option<u32>,
    /// Streams to stop in the same step.
    pub replace: Vec<StreamId>,
    /// Its metadata.
    pub metadata: Metadata,
    /// Further terms, which few requests have.
    pub terms: Option<Box<Terms>>,
}

impl Open {
    /// The first field that rules version 1 does not accept.
    #[must_use]
    pub fn field_of_rules_2(&self) -> Option<&'static str> {
        self.terms.as_deref()?.first_field()
    }

    /// The limits in the request. `max_active` is the short form of one of them.
    pub(super) fn limits(&self) -> RequestedLimits<'_> {
        RequestedLimits {
            short: self.max_active.map(Limit::of_all),
            listed: self.terms.as_deref().map_or(&[], |terms| &terms.limits),
        }
    }
}

pub(super) struct RequestedLimits<'a> {
    short: Option<Limit>,
    listed: &'a [Limit],
}

impl RequestedLimits<'_> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Limit> {
        self.short.iter().chain(self.listed)
    }
}

/// A soft limit was reached, or is no longer reached. The partition's leader appends these
/// entries by its counts. Replicas decide by the entries alone, so all decide alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityChange {
    /// The tenant; `None` for the whole partition.
    pub tenant: Option<Tenant>,
    /// Whether new streams are refused from here on.
    pub full: bool,
}
