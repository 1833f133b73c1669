//! Header and trailer of a snapshot.

use serde::{Deserialize, Serialize};

use super::{Counters, EntryId, LogTime, Settings, Tenant, WallShift};

/// The state of a replica at the start of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// Offset of the last internal entry that was applied. A restored replica reads the log from
    /// here.
    pub start: u64,
    /// The entry_id of the entry at `start`, which identifies the log.
    pub entry_id: EntryId,
    /// Offset of the oldest entry that the replica, or an earlier snapshot's replica, had read.
    pub first: u64,
    /// Log time.
    pub now: LogTime,
    /// Offset from log time to wall time.
    pub shift: WallShift,
    /// The settings in force. JSON as in the log, so that later versions can add settings.
    #[serde(with = "as_json")]
    pub settings: Settings,
    /// Whether the partition accepts no new stream.
    pub full: bool,
    /// Tenants whose new streams are refused.
    pub full_tenants: Vec<Tenant>,
    /// Numbers of the workers' local queues. Entries before the snapshot contain the number of a worker
    /// that has ended since.
    pub local_queues: Vec<u64>,
}

/// The state of a replica at the end of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTrailer {
    /// Offset of the last entry in the snapshot, which the log must contain.
    pub end: u64,
    /// Offset of the last internal entry up to `end`, which the log must contain: a broker that
    /// lost its last entries may have stored others since.
    pub last: u64,
    /// The entry_id of the entry at `last`.
    pub last_entry_id: EntryId,
    /// Checksum of the entries after `last`, up to `end`.
    pub trail: u32,
    /// Offset up to which the log records the publication of all lifecycle events.
    pub announced: Option<u64>,
    /// Counters of the entries up to `end`.
    pub counters: Counters,
}

/// Settings as a text with JSON.
mod as_json {
    use std::borrow::Cow;

    use serde::{
        Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _,
    };

    use crate::domain::Settings;

    pub(super) fn serialize<S: Serializer>(settings: &Settings, to: S) -> Result<S::Ok, S::Error> {
        let json = serde_json::to_string(settings).map_err(S::Error::custom)?;
        json.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Settings, D::Error> {
        let json = Cow::<str>::deserialize(from)?;
        serde_json::from_str(&json).map_err(D::Error::custom)
    }
}
