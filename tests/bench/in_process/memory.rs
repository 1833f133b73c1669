//! What a process has in memory, before, with so many streams, and after all of them expired. Each
//! is a process of its own: what one freed would be there for the other.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use moka::sync::Cache;
use serde_json::{Value, json};

use super::bare;
use super::corpus::Bodies;
use super::ours::Ours;
use crate::pairs::Pairs;
use crate::report::{Report, Target};

/// Twice the TTL, and some: from then on nothing is known of a stream.
const FORGOTTEN_S: usize = 200;
/// Streams that play before the others begin, and after they have ended.
const FEW: usize = 1_000;
/// Rounds of their heartbeats, 10 ms apart, until what was freed is given back.
const RESTS: usize = 300;
/// Messages made at once.
const STEP: usize = 10_000;

pub fn run(streams: usize, report: &mut Report) {
    let name = format!("memory per stream, {streams} streams");
    let after = format!("memory after they expired / before, {streams} streams");
    if !report.wants(&name) && !report.wants(&after) {
        return;
    }
    let large = streams >= 1_000_000;
    let (mut kept, mut left) = (Pairs::default(), Pairs::default());
    for _ in 0..report.pairs.min(3) {
        let [ours, bare] = ["ours", "bare"].map(|whose| measured(whose, streams));
        for (pairs, of) in [
            (&mut kept, per_stream as fn(&Memory, usize) -> f64),
            (&mut left, |m, _| m.after / m.before),
        ] {
            pairs.ours.push(of(&ours, streams));
            pairs.bare.push(of(&bare, streams));
        }
    }
    let target = if large {
        Target::AtMost(1.15)
    } else {
        Target::None
    };
    report.add(name, "bytes", kept, target);
    let ratio = crate::pairs::median(left.ours.clone());
    let target = if large {
        Target::AtMost(1.2)
    } else {
        Target::None
    };
    report.add_ratio(after, "times", left, ratio, target);
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

fn measured(whose: &str, streams: usize) -> Memory {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--child", whose, &streams.to_string()])
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

/// Prints what this process had in memory at three moments, in bytes.
pub fn child(whose: &str, streams: usize) {
    let (before, full, after) = match whose {
        "ours" => child_ours(streams),
        _ => child_bare(streams),
    };
    println!(
        "{}",
        json!({ "before": before, "full": full, "after": after })
    );
}

fn child_ours(streams: usize) -> (u64, u64, u64) {
    let mut ours = Ours::empty();
    let few = Bodies::first(few_of(streams));
    rest(|| ours.run(&few));
    let before = resident();
    // In steps: the messages themselves would be in the way.
    for n in 0..streams.div_ceil(STEP) {
        ours.take(&Bodies::first_of(n * STEP..((n + 1) * STEP).min(streams)));
    }
    ours.tick();
    let full = resident();
    assert_eq!(ours.replica.totals().streams, streams as u64);
    for _ in 0..FORGOTTEN_S {
        ours.tick();
    }
    assert_eq!(ours.replica.totals().records, 0);
    rest(|| ours.run(&few));
    (before, full, resident())
}

fn child_bare(streams: usize) -> (u64, u64, u64) {
    // All bytes in one box: none has less to keep.
    let bare: Cache<CompactString, Arc<[u8]>> = Cache::builder().build();
    let insert = |some: std::ops::Range<usize>| {
        for n in some {
            bare.insert(bare::key(n), bare::value(n).bytes().into());
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

/// Some seconds with few viewers: what was freed is given back by and by.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn rest(mut viewers: impl FnMut()) {
    for _ in 0..RESTS {
        viewers();
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Bytes of this process in memory, as the kernel counts them.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("pages");
    pages * 4_096
}
