//! A lifecycle event that the log does not say was announced.

use serde::{Deserialize, Serialize};

use super::codes::{Id, refused, stopped, store_refused, store_stopped, stream};
use crate::domain::{AccountKey, Announcement, Fact, FactKind, LogTime, Metadata, WallTime};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredAnnouncement<'a> {
    offset: u64,
    tenant: &'a str,
    account: &'a str,
    count: u32,
    stream: Id,
    at: i64,
    kind: StoredKind,
    #[serde(borrow)]
    metadata: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize, Deserialize)]
enum StoredKind {
    Opened(bool, i64),
    Refused(u8, Option<u32>),
    Stopped(u8, i64),
    Expired(i64, i64, u64),
}

pub(super) fn store_announcement(announcement: &Announcement) -> StoredAnnouncement<'_> {
    let fact = &announcement.fact;
    StoredAnnouncement {
        offset: announcement.offset,
        tenant: announcement.key.tenant(),
        account: announcement.key.account(),
        count: announcement.count,
        stream: fact.stream.0.into_bytes(),
        at: fact.at.0,
        kind: match fact.kind {
            FactKind::Opened {
                admitted,
                started_at,
            } => StoredKind::Opened(admitted, started_at.0),
            FactKind::Refused { reason, max_active } => {
                StoredKind::Refused(store_refused(reason), max_active)
            }
            FactKind::Stopped { reason, started_at } => {
                StoredKind::Stopped(store_stopped(reason), started_at.0)
            }
            FactKind::Expired {
                started_at,
                last_seen,
                deadline,
            } => StoredKind::Expired(started_at.0, last_seen.0, deadline.0),
        },
        metadata: fact.metadata.pairs().collect(),
    }
}

impl StoredAnnouncement<'_> {
    pub(super) fn decode(mut self) -> Option<Announcement> {
        let kind = match self.kind {
            StoredKind::Opened(admitted, at) => FactKind::Opened {
                admitted,
                started_at: WallTime(at),
            },
            StoredKind::Refused(reason, max_active) => FactKind::Refused {
                reason: refused(reason)?,
                max_active,
            },
            StoredKind::Stopped(reason, at) => FactKind::Stopped {
                reason: stopped(reason)?,
                started_at: WallTime(at),
            },
            StoredKind::Expired(at, last_seen, deadline) => FactKind::Expired {
                started_at: WallTime(at),
                last_seen: WallTime(last_seen),
                deadline: LogTime(deadline),
            },
        };
        Some(Announcement {
            offset: self.offset,
            key: AccountKey::of(self.tenant, self.account).ok()?,
            count: self.count,
            fact: Fact {
                stream: stream(self.stream),
                at: WallTime(self.at),
                kind,
                metadata: Metadata::new(&mut self.metadata).ok()?,
            },
        })
    }
}
