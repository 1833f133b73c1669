//! An account with its streams, tombstones and refusals.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codes::{
    UuidBytes, given, refused, stopped, store_given, store_refused, store_stopped, stream,
};
use crate::domain::{
    Account, AccountKey, LogSecond, LogTime, Metadata, Refusal, RequestId, StreamRecord, Tombstone,
    TtlAndAdmission, WallTime,
};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredAccount<'a> {
    tenant: &'a str,
    account: &'a str,
    last: u64,
    #[serde(borrow)]
    streams: Vec<StoredStream<'a>>,
    #[serde(borrow)]
    tombstones: Vec<StoredTombstone<'a>>,
    refusals: Vec<(UuidBytes, u64, u8)>,
}

#[derive(Serialize, Deserialize)]
struct StoredStream<'a> {
    id: UuidBytes,
    started_at: i64,
    last_seen: u64,
    began: u32,
    ttl_ms: u32,
    admitted: bool,
    #[serde(borrow)]
    metadata: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize, Deserialize)]
struct StoredTombstone<'a> {
    id: UuidBytes,
    until: u64,
    lasts_ms: u32,
    reason: u8,
    given: Option<&'a str>,
}

pub(super) fn store_account<'a>(
    key: &'a AccountKey,
    last: u64,
    account: &'a Account,
) -> StoredAccount<'a> {
    let streams = account.streams().iter().map(|s| StoredStream {
        id: s.id.0.into_bytes(),
        started_at: s.started_at.0,
        last_seen: s.last_seen.0,
        began: s.began.0,
        ttl_ms: s.ttl_and_admission.ttl_ms(),
        admitted: s.ttl_and_admission.is_admitted(),
        metadata: s.metadata.pairs().collect(),
    });
    let tombstones = account.tombstones().iter().map(|t| StoredTombstone {
        id: t.id.0.into_bytes(),
        until: t.until.0,
        lasts_ms: t.lasts_ms,
        reason: store_stopped(t.reason),
        given: store_given(t.given.as_ref()),
    });
    let refusals = account
        .refusals()
        .iter()
        .map(|r| (r.request.0.into_bytes(), r.until.0, store_refused(r.reason)));
    StoredAccount {
        tenant: key.tenant(),
        account: key.account(),
        last,
        streams: streams.collect(),
        tombstones: tombstones.collect(),
        refusals: refusals.collect(),
    }
}

impl StoredAccount<'_> {
    pub(super) fn decode(self) -> Option<(AccountKey, u64, Account)> {
        let streams = self.streams.into_iter().map(StoredStream::decode);
        let tombstones = self.tombstones.into_iter().map(StoredTombstone::decode);
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

impl StoredStream<'_> {
    fn decode(mut self) -> Option<StreamRecord> {
        Some(StreamRecord {
            id: stream(self.id),
            started_at: WallTime(self.started_at),
            last_seen: LogTime(self.last_seen),
            began: LogSecond(self.began),
            ttl_and_admission: TtlAndAdmission::new(self.ttl_ms, self.admitted),
            metadata: Metadata::new(&mut self.metadata).ok()?,
        })
    }
}

impl StoredTombstone<'_> {
    fn decode(self) -> Option<Tombstone> {
        Some(Tombstone {
            id: stream(self.id),
            until: LogTime(self.until),
            lasts_ms: self.lasts_ms,
            reason: stopped(self.reason)?,
            given: given(self.given)?,
        })
    }
}
