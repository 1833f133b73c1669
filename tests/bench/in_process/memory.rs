//! Memory of a process before its streams, with them, and after all of them expired. Each
//! measurement is a process of its own, as memory freed by one could be reused by another.

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use moka::sync::Cache;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bare;
use super::corpus::{self, Bodies};
use super::ours::Ours;
use super::tenants::counting;
use crate::pairs::{Pairs, Side, turns};
use crate::report::{Report, Target};

/// More than twice the TTL, after which no record of a stream is left.
const FORGOTTEN_S: usize = 200;
/// Streams that play before the others start, and after they have ended.
const FEW: usize = 1_000;
/// Rounds of their heartbeats, 10 ms apart, until freed memory is returned.
const RESTS: usize = 300;
/// The children: streamwatch, a moka cache, and a hash map.
const OURS: &str = "ours";
/// streamwatch that counts streams by two metadata keys.
const COUNTED: &str = "counted";
const CACHE: &str = "cache";
const MAP: &str = "map";
/// Messages generated at once.
const STEP: usize = 10_000;

pub fn run(streams: usize, report: &mut Report) {
    let name = format!("memory per stream, {streams} streams");
    let own = format!("memory per stream, {streams} streams, metadata of its own");
    let map = format!("memory per stream beside a HashMap, {streams} streams");
    let after = format!("memory after they expired / before, {streams} streams");
    let large = streams >= 1_000_000;
    let target = |most| {
        if large {
            Target::AtMost(most)
        } else {
            Target::None
        }
    };
    if report.wants(&name) || report.wants(&after) {
        let (kept, left) = pairs(report.pairs, streams, corpus::CHANNELS, CACHE);
        report.add(name, "bytes", kept, target(1.15));
        let ratio = crate::pairs::median(left.ours.clone());
        report.add_ratio(after, "times", left, ratio, target(1.2));
    }
    if large && report.wants(&own) {
        let (kept, _) = pairs(report.pairs, streams, streams, CACHE);
        report.add(own, "bytes", kept, Target::None);
    }
    let counted = format!("memory per stream beside one counted by 2 keys, {streams} streams");
    if report.wants(&counted) {
        let (kept, _) = pairs(report.pairs, streams, corpus::CHANNELS, COUNTED);
        report.add(counted, "bytes", kept, Target::None);
    }
    if report.wants(&map) {
        let (kept, _) = pairs(report.pairs, streams, corpus::CHANNELS, MAP);
        report.add(map, "bytes", kept, Target::None);
    }
}

/// Bytes per stream while streams are active, and after they expired.
fn pairs(count: usize, streams: usize, channels: usize, bare: &str) -> (Pairs, Pairs) {
    let (mut kept, mut left) = (Pairs::default(), Pairs::default());
    for side in turns(count) {
        let child = match side {
            Side::Ours => OURS,
            Side::Bare => bare,
        };
        let memory = measured(child, streams, channels);
        let each = per_stream(&memory, streams);
        let after = memory.after / memory.before;
        match side {
            Side::Ours => (kept.ours.push(each), left.ours.push(after)),
            Side::Bare => (kept.bare.push(each), left.bare.push(after)),
        };
    }
    (kept, left)
}

fn few_of(streams: usize) -> usize {
    FEW.min(streams / 2)
}

struct Memory {
    before: f64,
    full: f64,
    after: f64,
}

fn per_stream(memory: &Memory, streams: usize) -> f64 {
    (memory.full - memory.before) / (streams - few_of(streams)) as f64
}

fn measured(child: &str, streams: usize, channels: usize) -> Memory {
    let program = std::env::current_exe().expect("this program");
    let numbers = [streams, channels].map(|number| number.to_string());
    let output = Command::new(program)
        .args(["--child", child, &numbers[0], &numbers[1]])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let of = |name: &str| said[name].as_f64().expect("a number");
    Memory {
        before: of("before"),
        full: of("full"),
        after: of("after"),
    }
}

/// Prints the memory of this process at three moments, in bytes.
pub fn child(name: &str, streams: usize, channels: usize) {
    let (before, full, after) = match name {
        OURS => child_ours(Ours::empty(), streams, channels),
        COUNTED => child_ours(Ours::empty_by(counting()), streams, channels),
        MAP => child_map(streams, channels),
        _ => child_cache(streams, channels),
    };
    println!(
        "{}",
        json!({ "before": before, "full": full, "after": after })
    );
}

fn child_ours(mut ours: Ours, streams: usize, channels: usize) -> (u64, u64, u64) {
    let few = Bodies::first(few_of(streams));
    rest(|| ours.run(&few));
    let before = resident();
    // In steps, to keep the memory of messages small.
    for n in 0..streams.div_ceil(STEP) {
        let some = n * STEP..((n + 1) * STEP).min(streams);
        ours.take(&Bodies::first_of(some, channels));
    }
    ours.tick();
    let full = resident();
    assert_eq!(ours.replica.totals().streams, streams as u64);
    for _ in 0..FORGOTTEN_S {
        ours.tick();
    }
    while ours.replica.is_expiring() {
        ours.replica.expire();
    }
    assert_eq!(ours.replica.totals().records, 0);
    rest(|| ours.run(&few));
    (before, full, resident())
}

fn child_cache(streams: usize, channels: usize) -> (u64, u64, u64) {
    // All bytes in one box, the least memory that this cache can take.
    let bare: Cache<CompactString, Arc<[u8]>> = Cache::builder().build();
    let insert = |some: std::ops::Range<usize>| {
        for n in some {
            bare.insert(bare::key(n), bare::value(n, channels).bytes().into());
        }
        bare.run_pending_tasks();
    };
    rest(|| insert(0..few_of(streams)));
    let before = resident();
    insert(0..streams);
    let full = resident();
    bare.invalidate_all();
    rest(|| insert(0..few_of(streams)));
    (before, full, resident())
}

/// A hash map of values with shared metadata, without anything to find those that expire.
fn child_map(streams: usize, channels: usize) -> (u64, u64, u64) {
    struct Stream {
        _stream: Uuid,
        _started_at: i64,
        _last_seen: u64,
        _ttl_ms: u32,
        _admitted: bool,
        _metadata: Arc<str>,
    }
    let (mut map, mut shared) = (HashMap::new(), HashSet::<Arc<str>>::new());
    let mut insert = |some: std::ops::Range<usize>, map: &mut HashMap<CompactString, Stream>| {
        for n in some {
            let value = bare::value(n, channels);
            let known = shared.get(&*value.metadata).cloned();
            let metadata = known.unwrap_or_else(|| value.metadata.into());
            shared.insert(metadata.clone());
            let stream = Stream {
                _stream: value.stream,
                _started_at: value.started_at,
                _last_seen: value.last_seen,
                _ttl_ms: value.ttl_ms,
                _admitted: value.admitted,
                _metadata: metadata,
            };
            map.insert(bare::key(n), stream);
        }
    };
    rest(|| insert(0..few_of(streams), &mut map));
    let before = resident();
    insert(0..streams, &mut map);
    let full = resident();
    map.clear();
    map.shrink_to_fit();
    rest(|| insert(0..few_of(streams), &mut map));
    (before, full, resident())
}

/// Some seconds with few viewers, in which freed memory is returned gradually.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn rest(mut viewers: impl FnMut()) {
    for _ in 0..RESTS {
        viewers();
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("pages");
    pages * 4_096
}
