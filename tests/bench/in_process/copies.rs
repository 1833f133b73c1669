//! Encoding and restoring a snapshot.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use moka::sync::Cache;
use streamwatch::domain::{LogTime, SnapshotHeader};
use streamwatch::replica::Restoring;
use streamwatch::wire::snapshot::{self, Part, PartContent, SnapshotRef};
use uuid::Uuid;

use super::bare::{self, Bare, Value};
use super::ours::Ours;
use crate::pairs::{Pairs, ns_each};
use crate::report::{Report, Target};

/// Accounts in one part, about as many as in a worker's parts.
const PART: usize = 150;

pub fn run(streams: usize, report: &mut Report) {
    let snapshot = format!("snapshot, {streams} streams");
    let restore = format!("restore, {streams} streams");
    if !report.wants(&snapshot) && !report.wants(&restore) {
        return;
    }
    let floor = bare::filled(streams);
    let mut ours = Ours::filled(streams);
    let (mut header, mut ours_parts, mut bare_parts) = (None, Vec::new(), Vec::new());
    let measured = Pairs::measure(
        report.pairs,
        || ns_each(streams, || (header, ours_parts) = copy_ours(&mut ours)),
        || ns_each(streams, || bare_parts = copy_bare(&floor)),
    );
    report.add(snapshot, "ns", measured, Target::None);
    drop((ours, floor));
    let header = header.expect("a snapshot was begun");
    let measured = Pairs::measure(
        report.pairs,
        || ns_each(streams, || restore_ours(&header, &ours_parts)),
        || ns_each(streams, || restore_bare(&bare_parts)),
    );
    report.add(restore, "ns", measured, Target::None);
}

fn copy_ours(ours: &mut Ours) -> (Option<SnapshotHeader>, Vec<Vec<u8>>) {
    let header = ours.replica.begin_snapshot().expect("it has caught up");
    let place = SnapshotRef {
        id: Uuid::nil(),
        after: None,
        now: LogTime(0),
    };
    let (mut parts, mut accounts) = (Vec::new(), Vec::new());
    let mut encoder = snapshot::Encoder::default();
    let mut flush = |accounts: &mut Vec<_>| {
        let part = Part {
            place,
            before: None,
            number: 0,
            content: PartContent::Accounts(std::mem::take(accounts)),
        };
        parts.push(encoder.encode(&part).expect("it is small"));
    };
    loop {
        ours.replica.copy_accounts(|key, last, account| {
            accounts.push((key.clone(), last, account.clone()));
            if accounts.len() < PART {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        if accounts.is_empty() {
            break;
        }
        flush(&mut accounts);
    }
    ours.replica.end_snapshot().expect("it was begun");
    (Some(header), parts)
}

fn copy_bare(floor: &Bare) -> Vec<Vec<u8>> {
    let (mut parts, mut values) = (Vec::new(), Vec::new());
    let mut frames = FrameEncoder::new(Vec::new());
    let mut flush = |values: &mut Vec<(String, Value)>| {
        postcard::to_io(&std::mem::take(values), &mut frames).expect("it encodes");
        frames.try_finish().expect("it is compressed");
        parts.push(std::mem::take(frames.get_mut()));
    };
    for (key, value) in floor {
        values.push((key.to_string(), Value::clone(&value)));
        if values.len() == PART {
            flush(&mut values);
        }
    }
    flush(&mut values);
    parts
}

fn restore_ours(header: &SnapshotHeader, parts: &[Vec<u8>]) {
    let mut restoring = Restoring::new(header.clone()).expect("these rules");
    for part in parts {
        let PartContent::Accounts(all) = snapshot::decode(part).expect("a part").content else {
            panic!("accounts");
        };
        for (key, last, account) in all {
            assert!(restoring.account(key, last, account));
        }
    }
    black_box(&restoring);
}

fn restore_bare(parts: &[Vec<u8>]) {
    let bare: Bare = Cache::builder().build();
    for part in parts {
        let mut plain = Vec::new();
        std::io::copy(&mut FrameDecoder::new(part.as_slice()), &mut plain).expect("a frame");
        let all: Vec<(String, Value)> = postcard::from_bytes(&plain).expect("values");
        for (key, value) in all {
            bare.insert(key.into(), Arc::new(value));
        }
    }
    black_box(&bare);
}
