//! A buffered lifecycle event, whose publication the log does not record.

use serde::{Deserialize, Serialize};

use super::codes::{
    UuidBytes, given, refused, stopped, store_given, store_refused, store_stopped, stream,
};
use crate::domain::{
    AccountKey, Announcement, ExpiryCause, LifecycleEvent, LifecycleEventKind, LogTime, Metadata,
    WallTime,
};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredAnnouncement<'a> {
    offset: u64,
    tenant: &'a str,
    account: &'a str,
    count: u32,
    stream: UuidBytes,
    at: i64,
    #[serde(borrow)]
    kind: StoredKind<'a>,
    #[serde(borrow)]
    metadata: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize, Deserialize)]
enum StoredKind<'a> {
    Opened(bool, i64),
    Refused(u8, Option<u32>),
    Stopped(u8, i64, Option<UuidBytes>, Option<&'a str>),
    /// The last field is the deadline; without it, the stream was too old.
    Expired(i64, i64, Option<u64>),
    Admitted(i64),
}

pub(super) fn store_announcement(announcement: &Announcement) -> StoredAnnouncement<'_> {
    let event = &announcement.event;
    StoredAnnouncement {
        offset: announcement.offset,
        tenant: announcement.key.tenant(),
        account: announcement.key.account(),
        count: announcement.count,
        stream: event.stream.0.into_bytes(),
        at: event.at.0,
        kind: match &event.kind {
            LifecycleEventKind::Opened {
                admitted,
                started_at,
            } => StoredKind::Opened(*admitted, started_at.0),
            LifecycleEventKind::Admitted { started_at } => StoredKind::Admitted(started_at.0),
            LifecycleEventKind::Refused { reason, max_active } => {
                StoredKind::Refused(store_refused(*reason), *max_active)
            }
            LifecycleEventKind::Stopped {
                reason,
                started_at,
                successor,
                given,
            } => StoredKind::Stopped(
                store_stopped(*reason),
                started_at.0,
                successor.map(|id| id.0.into_bytes()),
                store_given(given.as_ref()),
            ),
            LifecycleEventKind::Expired {
                started_at,
                last_seen,
                cause,
            } => {
                let deadline = match cause {
                    ExpiryCause::Deadline(deadline) => Some(deadline.0),
                    ExpiryCause::TooOld => None,
                };
                StoredKind::Expired(started_at.0, last_seen.0, deadline)
            }
        },
        metadata: event.metadata.pairs().collect(),
    }
}

impl StoredAnnouncement<'_> {
    pub(super) fn decode(mut self) -> Option<Announcement> {
        let kind = match self.kind {
            StoredKind::Opened(admitted, at) => LifecycleEventKind::Opened {
                admitted,
                started_at: WallTime(at),
            },
            StoredKind::Refused(reason, max_active) => LifecycleEventKind::Refused {
                reason: refused(reason)?,
                max_active,
            },
            StoredKind::Admitted(at) => LifecycleEventKind::Admitted {
                started_at: WallTime(at),
            },
            StoredKind::Stopped(reason, at, successor, text) => LifecycleEventKind::Stopped {
                reason: stopped(reason)?,
                started_at: WallTime(at),
                successor: successor.map(stream),
                given: given(text)?,
            },
            StoredKind::Expired(at, last_seen, deadline) => LifecycleEventKind::Expired {
                started_at: WallTime(at),
                last_seen: WallTime(last_seen),
                cause: deadline.map_or(ExpiryCause::TooOld, |deadline| {
                    ExpiryCause::Deadline(LogTime(deadline))
                }),
            },
        };
        Some(Announcement {
            offset: self.offset,
            key: AccountKey::of(self.tenant, self.account).ok()?,
            count: self.count,
            event: LifecycleEvent {
                stream: stream(self.stream),
                at: WallTime(self.at),
                kind,
                metadata: Metadata::new(&mut self.metadata).ok()?,
            },
        })
    }
}
