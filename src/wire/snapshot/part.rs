//! One message of a snapshot, encoded by postcard: the order of the fields is the format.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    account::{StoredAccount, store_account},
    announcement::{StoredAnnouncement, store_announcement},
    codes::UuidBytes,
    counters::{StoredCounters, store_counters},
};
use crate::domain::{
    Account, AccountKey, Announcement, EntryId, LogTime, SnapshotHeader, SnapshotTrailer, Tenant,
    WallShift,
};

/// The id of a snapshot, and its position in the snapshot log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRef {
    /// The id of the snapshot.
    pub id: Uuid,
    /// An offset of the snapshot log before its first message; `None` if it is not known.
    pub after: Option<u64>,
    /// Log time at its start.
    pub now: LogTime,
}

/// One message of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

#[derive(Serialize, Deserialize)]
struct StoredPart<'a> {
    place: StoredRef,
    before: Option<StoredRef>,
    number: u32,
    #[serde(borrow)]
    content: StoredContent<'a>,
}

#[derive(Serialize, Deserialize)]
struct StoredRef {
    id: UuidBytes,
    after: Option<u64>,
    now: u64,
}

#[derive(Serialize, Deserialize)]
enum StoredContent<'a> {
    #[serde(borrow)]
    Header(StoredHeader<'a>),
    #[serde(borrow)]
    Accounts(Vec<StoredAccount<'a>>),
    #[serde(borrow)]
    Unannounced(Vec<StoredAnnouncement<'a>>),
    Trailer(StoredTrailer),
}

#[derive(Serialize, Deserialize)]
struct StoredHeader<'a> {
    start: u64,
    entry_id: (u64, u64),
    first: u64,
    now: u64,
    shift: i64,
    /// JSON as in the log, so that later versions can add settings.
    settings: String,
    full: bool,
    #[serde(borrow)]
    full_tenants: Vec<&'a str>,
    local_queues: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct StoredTrailer {
    end: u64,
    last: u64,
    last_entry_id: (u64, u64),
    trail: u32,
    announced: Option<u64>,
    counters: StoredCounters,
}

/// Appends a part to `plain`.
pub(super) fn encode(part: &Part, plain: Vec<u8>) -> Vec<u8> {
    let content = match &part.content {
        PartContent::Header(header) => StoredContent::Header(store_header(header)),
        PartContent::Accounts(accounts) => StoredContent::Accounts(
            accounts
                .iter()
                .map(|(key, last, account)| store_account(key, *last, account))
                .collect(),
        ),
        PartContent::Unannounced(all) => {
            StoredContent::Unannounced(all.iter().map(store_announcement).collect())
        }
        PartContent::Trailer(trailer) => StoredContent::Trailer(StoredTrailer {
            end: trailer.end,
            last: trailer.last,
            last_entry_id: (trailer.last_entry_id.writer, trailer.last_entry_id.seq),
            trail: trailer.trail,
            announced: trailer.announced,
            counters: store_counters(&trailer.counters),
        }),
    };
    let part = StoredPart {
        place: store_ref(&part.place),
        before: part.before.as_ref().map(store_ref),
        number: part.number,
        content,
    };
    postcard::to_extend(&part, plain).expect("numbers, strings and lists always encode")
}

/// Decodes a part. `None` if it is damaged.
pub(super) fn decode(plain: &[u8]) -> Option<Part> {
    let (part, rest) = postcard::take_from_bytes::<StoredPart>(plain).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let content = match part.content {
        StoredContent::Header(header) => PartContent::Header(header.decode()?),
        StoredContent::Accounts(all) => PartContent::Accounts(
            all.into_iter()
                .map(StoredAccount::decode)
                .collect::<Option<_>>()?,
        ),
        StoredContent::Unannounced(all) => PartContent::Unannounced(
            all.into_iter()
                .map(StoredAnnouncement::decode)
                .collect::<Option<_>>()?,
        ),
        StoredContent::Trailer(trailer) => PartContent::Trailer(SnapshotTrailer {
            end: trailer.end,
            last: trailer.last,
            last_entry_id: entry_id(trailer.last_entry_id),
            trail: trailer.trail,
            announced: trailer.announced,
            counters: trailer.counters.decode()?,
        }),
    };
    Some(Part {
        place: part.place.decode(),
        before: part.before.map(StoredRef::decode),
        number: part.number,
        content,
    })
}

const fn store_ref(place: &SnapshotRef) -> StoredRef {
    StoredRef {
        id: place.id.into_bytes(),
        after: place.after,
        now: place.now.0,
    }
}

impl StoredRef {
    const fn decode(self) -> SnapshotRef {
        SnapshotRef {
            id: Uuid::from_bytes(self.id),
            after: self.after,
            now: LogTime(self.now),
        }
    }
}

fn store_header(header: &SnapshotHeader) -> StoredHeader<'_> {
    StoredHeader {
        start: header.start,
        entry_id: (header.entry_id.writer, header.entry_id.seq),
        first: header.first,
        now: header.now.0,
        shift: header.shift.0,
        settings: serde_json::to_string(&header.settings).expect("numbers always encode"),
        full: header.full,
        full_tenants: header.full_tenants.iter().map(Tenant::as_str).collect(),
        local_queues: header.local_queues.clone(),
    }
}

impl StoredHeader<'_> {
    fn decode(self) -> Option<SnapshotHeader> {
        let tenants = self.full_tenants.into_iter().map(Tenant::new);
        Some(SnapshotHeader {
            start: self.start,
            entry_id: entry_id(self.entry_id),
            first: self.first,
            now: LogTime(self.now),
            shift: WallShift(self.shift),
            settings: serde_json::from_str(&self.settings).ok()?,
            full: self.full,
            full_tenants: tenants.collect::<Result<_, _>>().ok()?,
            local_queues: self.local_queues,
        })
    }
}

const fn entry_id((writer, seq): (u64, u64)) -> EntryId {
    EntryId { writer, seq }
}
