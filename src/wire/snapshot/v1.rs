//! The first format: postcard, field by field. What is here never changes; a change is a `v2`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Part, PartContent, Place};
use crate::domain::{
    Account, AccountKey, Announcement, Fact, FactKind, LogTime, Mark, Metadata, Refusal,
    RefusedReason, RequestId, SnapshotHeader, SnapshotTrailer, StoppedReason, StreamId,
    StreamRecord, Tally, Tenant, Tombstone, WallShift, WallTime,
};

type Id = [u8; 16];

#[derive(Serialize, Deserialize)]
struct PartV1<'a> {
    place: PlaceV1,
    before: Option<PlaceV1>,
    number: u32,
    #[serde(borrow)]
    content: ContentV1<'a>,
}

#[derive(Serialize, Deserialize)]
struct PlaceV1 {
    id: Id,
    after: Option<u64>,
    now: u64,
}

#[derive(Serialize, Deserialize)]
enum ContentV1<'a> {
    #[serde(borrow)]
    Header(HeaderV1<'a>),
    #[serde(borrow)]
    Accounts(Vec<AccountV1<'a>>),
    #[serde(borrow)]
    Unannounced(Vec<AnnouncementV1<'a>>),
    Trailer(TrailerV1),
}

#[derive(Serialize, Deserialize)]
struct HeaderV1<'a> {
    start: u64,
    mark: (u64, u64),
    first: u64,
    now: u64,
    shift: i64,
    /// JSON, as the log has them: they grow with every version.
    settings: String,
    full: bool,
    #[serde(borrow)]
    full_tenants: Vec<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct TrailerV1 {
    end: u64,
    last: u64,
    last_mark: (u64, u64),
    trail: u32,
    announced: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct AccountV1<'a> {
    tenant: &'a str,
    account: &'a str,
    last: u64,
    #[serde(borrow)]
    streams: Vec<StreamV1<'a>>,
    tombstones: Vec<(Id, u64, u32, u8)>,
    refusals: Vec<(Id, u64, u8)>,
}

#[derive(Serialize, Deserialize)]
struct StreamV1<'a> {
    id: Id,
    started_at: i64,
    last_seen: u64,
    ttl_ms: u32,
    admitted: bool,
    #[serde(borrow)]
    metadata: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize, Deserialize)]
struct AnnouncementV1<'a> {
    offset: u64,
    tenant: &'a str,
    account: &'a str,
    count: u32,
    stream: Id,
    at: i64,
    kind: KindV1,
    #[serde(borrow)]
    metadata: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize, Deserialize)]
enum KindV1 {
    Opened(bool, i64),
    Refused(u8, Option<u32>),
    Stopped(u8, i64),
    Expired(i64, i64, u64),
}

/// Appends a part to `plain`.
pub(super) fn encode(part: &Part, plain: Vec<u8>) -> Vec<u8> {
    let content = match &part.content {
        PartContent::Header(header) => ContentV1::Header(header_v1(header)),
        PartContent::Accounts(accounts) => ContentV1::Accounts(
            accounts
                .iter()
                .map(|(key, last, account)| account_v1(key, *last, account))
                .collect(),
        ),
        PartContent::Unannounced(all) => {
            ContentV1::Unannounced(all.iter().map(announcement_v1).collect())
        }
        PartContent::Trailer(trailer) => ContentV1::Trailer(TrailerV1 {
            end: trailer.end,
            last: trailer.last,
            last_mark: (trailer.last_mark.writer, trailer.last_mark.seq),
            trail: trailer.trail,
            announced: trailer.announced,
        }),
    };
    let part = PartV1 {
        place: place_v1(&part.place),
        before: part.before.as_ref().map(place_v1),
        number: part.number,
        content,
    };
    postcard::to_extend(&part, plain).expect("numbers, strings and lists always encode")
}

/// `None` where it is damaged.
pub(super) fn decode(plain: &[u8]) -> Option<Part> {
    let (part, rest) = take(plain)?;
    rest.is_empty().then_some(part)
}

/// A part, and what comes behind it.
pub(super) fn take(plain: &[u8]) -> Option<(Part, &[u8])> {
    let (part, rest) = postcard::take_from_bytes::<PartV1>(plain).ok()?;
    let content = match part.content {
        ContentV1::Header(header) => PartContent::Header(header.decode()?),
        ContentV1::Accounts(all) => PartContent::Accounts(
            all.into_iter()
                .map(AccountV1::decode)
                .collect::<Option<_>>()?,
        ),
        ContentV1::Unannounced(all) => PartContent::Unannounced(
            all.into_iter()
                .map(AnnouncementV1::decode)
                .collect::<Option<_>>()?,
        ),
        ContentV1::Trailer(trailer) => PartContent::Trailer(SnapshotTrailer {
            end: trailer.end,
            last: trailer.last,
            last_mark: mark(trailer.last_mark),
            trail: trailer.trail,
            announced: trailer.announced,
            tally: Tally::default(),
        }),
    };
    let part = Part {
        place: part.place.decode(),
        before: part.before.map(PlaceV1::decode),
        number: part.number,
        content,
    };
    Some((part, rest))
}

const fn place_v1(place: &Place) -> PlaceV1 {
    PlaceV1 {
        id: place.id.into_bytes(),
        after: place.after,
        now: place.now.0,
    }
}

impl PlaceV1 {
    const fn decode(self) -> Place {
        Place {
            id: Uuid::from_bytes(self.id),
            after: self.after,
            now: LogTime(self.now),
        }
    }
}

fn header_v1(header: &SnapshotHeader) -> HeaderV1<'_> {
    HeaderV1 {
        start: header.start,
        mark: (header.mark.writer, header.mark.seq),
        first: header.first,
        now: header.now.0,
        shift: header.shift.0,
        settings: serde_json::to_string(&header.settings).expect("numbers always encode"),
        full: header.full,
        full_tenants: header.full_tenants.iter().map(Tenant::as_str).collect(),
    }
}

impl HeaderV1<'_> {
    fn decode(self) -> Option<SnapshotHeader> {
        let tenants = self.full_tenants.into_iter().map(Tenant::new);
        Some(SnapshotHeader {
            start: self.start,
            mark: mark(self.mark),
            first: self.first,
            now: LogTime(self.now),
            shift: WallShift(self.shift),
            settings: serde_json::from_str(&self.settings).ok()?,
            full: self.full,
            full_tenants: tenants.collect::<Result<_, _>>().ok()?,
        })
    }
}

fn account_v1<'a>(key: &'a AccountKey, last: u64, account: &'a Account) -> AccountV1<'a> {
    let streams = account.streams().iter().map(|s| StreamV1 {
        id: s.id.0.into_bytes(),
        started_at: s.started_at.0,
        last_seen: s.last_seen.0,
        ttl_ms: s.ttl_ms,
        admitted: s.admitted,
        metadata: s.metadata.pairs().collect(),
    });
    let tombstones = account.tombstones().iter().map(|t| {
        let id = t.id.0.into_bytes();
        (id, t.until.0, t.lasts_ms, stopped_v1(t.reason))
    });
    let refusals = account
        .refusals()
        .iter()
        .map(|r| (r.request.0.into_bytes(), r.until.0, refused_v1(r.reason)));
    AccountV1 {
        tenant: key.tenant(),
        account: key.account(),
        last,
        streams: streams.collect(),
        tombstones: tombstones.collect(),
        refusals: refusals.collect(),
    }
}

impl AccountV1<'_> {
    fn decode(self) -> Option<(AccountKey, u64, Account)> {
        let streams = self.streams.into_iter().map(StreamV1::decode);
        let tombstones = self
            .tombstones
            .into_iter()
            .map(|(id, until, lasts_ms, reason)| {
                Some(Tombstone {
                    id: stream(id),
                    until: LogTime(until),
                    lasts_ms,
                    reason: stopped(reason)?,
                })
            });
        let refusals = self.refusals.into_iter().map(|(id, until, reason)| {
            Some(Refusal {
                request: RequestId(Uuid::from_bytes(id)),
                until: LogTime(until),
                reason: refused(reason)?,
            })
        });
        let account = Account::from_records(
            streams.collect::<Option<_>>()?,
            tombstones.collect::<Option<_>>()?,
            refusals.collect::<Option<_>>()?,
        );
        Some((
            AccountKey::of(self.tenant, self.account).ok()?,
            self.last,
            account,
        ))
    }
}

impl StreamV1<'_> {
    fn decode(mut self) -> Option<StreamRecord> {
        Some(StreamRecord {
            id: stream(self.id),
            started_at: WallTime(self.started_at),
            last_seen: LogTime(self.last_seen),
            ttl_ms: self.ttl_ms,
            admitted: self.admitted,
            metadata: Metadata::new(&mut self.metadata).ok()?,
        })
    }
}

fn announcement_v1(announcement: &Announcement) -> AnnouncementV1<'_> {
    let fact = &announcement.fact;
    AnnouncementV1 {
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
            } => KindV1::Opened(admitted, started_at.0),
            FactKind::Refused { reason, max_active } => {
                KindV1::Refused(refused_v1(reason), max_active)
            }
            FactKind::Stopped { reason, started_at } => {
                KindV1::Stopped(stopped_v1(reason), started_at.0)
            }
            FactKind::Expired {
                started_at,
                last_seen,
                deadline,
            } => KindV1::Expired(started_at.0, last_seen.0, deadline.0),
        },
        metadata: fact.metadata.pairs().collect(),
    }
}

impl AnnouncementV1<'_> {
    fn decode(mut self) -> Option<Announcement> {
        let kind = match self.kind {
            KindV1::Opened(admitted, at) => FactKind::Opened {
                admitted,
                started_at: WallTime(at),
            },
            KindV1::Refused(reason, max_active) => FactKind::Refused {
                reason: refused(reason)?,
                max_active,
            },
            KindV1::Stopped(reason, at) => FactKind::Stopped {
                reason: stopped(reason)?,
                started_at: WallTime(at),
            },
            KindV1::Expired(at, last_seen, deadline) => FactKind::Expired {
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

const fn mark((writer, seq): (u64, u64)) -> Mark {
    Mark { writer, seq }
}

const fn stream(id: Id) -> StreamId {
    StreamId(Uuid::from_bytes(id))
}

const fn stopped_v1(reason: StoppedReason) -> u8 {
    match reason {
        StoppedReason::Stopped => 0,
        StoppedReason::Replaced => 1,
    }
}

const fn stopped(code: u8) -> Option<StoppedReason> {
    match code {
        0 => Some(StoppedReason::Stopped),
        1 => Some(StoppedReason::Replaced),
        _ => None,
    }
}

const fn refused_v1(reason: RefusedReason) -> u8 {
    match reason {
        RefusedReason::MaxActive => 0,
        RefusedReason::AccountCap => 1,
        RefusedReason::OverCapacity => 2,
        RefusedReason::Stopped => 3,
    }
}

const fn refused(code: u8) -> Option<RefusedReason> {
    match code {
        0 => Some(RefusedReason::MaxActive),
        1 => Some(RefusedReason::AccountCap),
        2 => Some(RefusedReason::OverCapacity),
        3 => Some(RefusedReason::Stopped),
        _ => None,
    }
}
