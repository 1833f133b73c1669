use super::*;
use uuid::Uuid;

use crate::domain::{
    AccountId, AccountKey, Announcement, Counters, EntryId, ExpiryCause, GivenReason,
    LifecycleEvent, LifecycleEventKind, LogSecond, LogTime, Metadata, Refusal, RefusedReason,
    RequestId, Settings, SnapshotHeader, SnapshotTrailer, StoppedReason, StreamId, StreamRecord,
    Tenant, Tombstone, TtlAndAdmission, WallShift, WallTime,
};

const ID: Uuid = Uuid::from_u128(0x0192_f0c1_0000_7000_8000_0000_0000_0001);

fn key(account: &str) -> AccountKey {
    AccountKey::new(
        &Tenant::new("acme").unwrap(),
        &AccountId::new(account).unwrap(),
    )
}

fn said() -> Metadata {
    Metadata::new(&mut [("device", "tv"), ("title", "é\n")]).unwrap()
}

fn entry_id(seq: u64) -> EntryId {
    EntryId {
        writer: u64::MAX,
        seq,
    }
}

fn part(content: PartContent) -> Part {
    let place = SnapshotRef {
        id: ID,
        after: Some(7),
        now: LogTime(1_000),
    };
    Part {
        place,
        before: Some(SnapshotRef {
            after: None,
            ..place
        }),
        number: 3,
        content,
    }
}

fn account() -> Account {
    let stream = |metadata, admitted| StreamRecord {
        id: StreamId(ID),
        started_at: WallTime(-5),
        last_seen: LogTime(1 << 40),
        began: LogSecond(u32::MAX),
        ttl_and_admission: TtlAndAdmission::new(90_000, admitted),
        metadata,
    };
    let tombstone = |reason| Tombstone {
        id: StreamId(ID),
        until: LogTime(77),
        lasts_ms: 90_000,
        reason,
        given: GivenReason::new("é")
            .ok()
            .filter(|_| reason == StoppedReason::Replaced),
    };
    let refusal = |reason| Refusal {
        request: RequestId(ID),
        reason,
        until: LogTime(78),
    };
    Account::from_records(
        vec![stream(said(), true), stream(Metadata::default(), false)],
        StoppedReason::ALL.map(tombstone).into(),
        RefusedReason::ALL.map(refusal).into(),
    )
}

fn counters() -> Counters {
    let mut counters = Counters {
        refreshed: u64::MAX,
        late: 4,
        admitted: 5,
        refusals: [1, 2, 3, 4, 5],
        ..Counters::default()
    };
    counters.expired.counts[10] = 6;
    counters.expired.sum_ms = 7;
    counters.bad[3] = 8;
    counters
}

fn parts() -> [Part; 4] {
    let settings = Settings {
        ttl_ms: 2_000,
        ..Settings::default()
    };
    let started_at = WallTime(4);
    let kinds = [
        LifecycleEventKind::Opened {
            admitted: true,
            started_at,
        },
        LifecycleEventKind::Refused {
            reason: RefusedReason::MaxActive,
            max_active: Some(2),
        },
        LifecycleEventKind::Admitted { started_at },
        LifecycleEventKind::Stopped {
            reason: StoppedReason::Replaced,
            started_at,
            successor: Some(StreamId(ID)),
            given: GivenReason::new("moved").ok(),
        },
        LifecycleEventKind::Stopped {
            reason: StoppedReason::Stopped,
            started_at,
            successor: None,
            given: None,
        },
        LifecycleEventKind::Expired {
            started_at,
            last_seen: WallTime(5),
            cause: ExpiryCause::Deadline(LogTime(6)),
        },
        LifecycleEventKind::Expired {
            started_at,
            last_seen: WallTime(5),
            cause: ExpiryCause::TooOld,
        },
    ];
    let unannounced = kinds.map(|kind| Announcement {
        offset: 9,
        key: key("alice"),
        count: 2,
        event: LifecycleEvent {
            stream: StreamId(ID),
            at: WallTime(8),
            kind,
            metadata: said(),
        },
    });
    [
        part(PartContent::Header(SnapshotHeader {
            start: 12,
            entry_id: entry_id(1),
            first: 3,
            now: LogTime(1_000),
            shift: WallShift(-8),
            settings,
            full: true,
            full_tenants: vec![Tenant::new("acme").unwrap()],
            local_queues: vec![7, u64::MAX],
        })),
        part(PartContent::Accounts(vec![
            (key("alice"), 11, account()),
            (key("nobody/é"), 0, Account::default()),
        ])),
        part(PartContent::Unannounced(unannounced.into())),
        part(PartContent::Trailer(SnapshotTrailer {
            end: 20,
            last: 19,
            last_entry_id: entry_id(2),
            trail: 9,
            announced: Some(13),
            counters: counters(),
        })),
    ]
}

#[test]
fn successive_parts_survive_encoding_and_decoding() {
    let all = |count| (0..count).map(|n| (key(&n.to_string()), n, account()));
    let parts = [1, 2_000, 0, 30].map(|count| part(PartContent::Accounts(all(count).collect())));
    let mut encoder = Encoder::default();
    for part in &parts {
        let message = encoder.encode(part).unwrap();
        assert_eq!(decode(&message).unwrap(), *part);
    }
}

#[test]
fn every_part_survives_encoding_and_decoding() {
    for part in parts() {
        assert_eq!(decode(&Encoder::default().encode(&part).unwrap()), Ok(part));
    }
}

#[test]
fn a_part_of_another_version_gets_an_error_with_the_version() {
    let [header, ..] = parts();
    let mut message = Encoder::default().encode(&header).unwrap();
    message[3] = 9;
    assert_eq!(decode(&message), Err(SnapshotError::Version(9)));
    assert_eq!(decode(b"{}"), Err(SnapshotError::Foreign));
}

#[test]
fn a_part_that_was_cut_off_or_changed_is_damaged() {
    for part in parts() {
        let message = Encoder::default().encode(&part).unwrap();
        for end in BEGIN..message.len() {
            assert_eq!(decode(&message[..end]), Err(SnapshotError::Damaged));
        }
        for i in 4..message.len() {
            let mut changed = message.clone();
            changed[i] ^= 0x10;
            assert_eq!(decode(&changed), Err(SnapshotError::Damaged), "byte {i}");
        }
    }
}

#[test]
fn a_part_that_expands_beyond_the_limit_is_rejected() {
    let mut frame = Vec::new();
    let mut encoder = FrameEncoder::new(&mut frame);
    for _ in 0..=MAX_PART_BYTES / 65_536 {
        encoder.write_all(&[0; 65_536]).unwrap();
    }
    encoder.finish().unwrap();
    let mut message = Vec::from(*b"SWS\x03");
    message.extend_from_slice(&crc32fast::hash(&frame).to_le_bytes());
    message.extend_from_slice(&frame);
    assert!(message.len() < MAX_PART_BYTES / 100);
    assert_eq!(decode(&message), Err(SnapshotError::TooLarge));
}

/// The domain's types are the format. Without a new version of it, only lists and settings may grow.
#[test]
fn the_format_of_this_version_does_not_change() {
    let formats = parts().map(|part| {
        let plain = part::encode(&part, Vec::new());
        (plain.len(), crc32fast::hash(&plain))
    });
    // Of the header, the settings may grow.
    let expected = [(322, 0xfb6a_d0e5), (450, 0x8080_33b5), (139, 0x64af_b8c6)];
    assert_eq!((VERSION, &formats[1..]), (3, &expected[..]));
}
