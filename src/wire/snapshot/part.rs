//! One message of a snapshot, encoded by postcard: the order of the fields is the format, also that of
//! the domain's types in it. Another order needs another version of the format.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{Account, AccountKey, Announcement, LogTime, SnapshotHeader, SnapshotTrailer};

/// The id of a snapshot, and its position in the snapshot log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// The id of the snapshot.
    #[serde(with = "uuid::serde::compact")]
    pub id: Uuid,
    /// An offset of the snapshot log before its first message; `None` if it is not known.
    pub after: Option<u64>,
    /// Log time at its start.
    pub now: LogTime,
}

/// One message of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The snapshot.
    pub place: SnapshotRef,
    /// The last complete snapshot before it.
    pub before: Option<SnapshotRef>,
    /// The number of the message in the snapshot; the header has 0.
    pub number: u32,
    /// Its content.
    pub content: PartContent,
}

/// The content of a message of a snapshot.
#[allow(
    clippy::large_enum_variant,
    reason = "there are a few at a time, and one trailer in a snapshot"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartContent {
    /// The first part.
    Header(SnapshotHeader),
    /// Accounts, each with the offset of its last entry.
    Accounts(Vec<(AccountKey, u64, Account)>),
    /// Buffered lifecycle events, in order.
    Unannounced(Vec<Announcement>),
    /// The last part.
    Trailer(SnapshotTrailer),
}

/// Appends a part to `plain`.
pub(super) fn encode(part: &Part, plain: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(part, plain).expect("numbers, strings and lists always encode")
}

/// Decodes a part. `None` if it is damaged.
pub(super) fn decode(plain: &[u8]) -> Option<Part> {
    let (part, rest) = postcard::take_from_bytes(plain).ok()?;
    rest.is_empty().then_some(part)
}
