//! A worker with many active streams: its waiting times while it writes a snapshot, compared with
//! those between snapshots, and its memory before and after all streams have expired.

use std::time::Duration;

use serde_json::Value;

use super::Plan;
use super::caller::Caller;
use super::filled::ready;
use super::filling::publish_heartbeats;
use super::measured_process::{MeasuredProcess, at, lines, moment, now, resident};
use super::snapshotted::{Snapshotted, WROTE, set};
use super::status::is_right;
use crate::broker::fixture::{Broker, Installation, Worker, eventually, exit};
use crate::in_process::corpus;
use crate::pairs::{Pairs, median, percentile};
use crate::report::{Report, Target};

/// Longest wait for any condition.
const PATIENCE: Duration = Duration::from_secs(600);
/// Consecutive samples without a decrease after which memory counts as stable, some seconds.
const ENOUGH: u32 = 250;
/// Viewers before the measurement, and the heartbeats of each.
const FEW: usize = 1_000;
const ROUNDS: usize = 20;
/// Requests between two reads of the worker's log.
const BLOCK: usize = 100;

fn names(plan: &Plan) -> [String; 3] {
    let streams = plan.largest;
    [
        format!("status p99, a snapshot is written / not, {streams}"),
        format!("memory of the worker per stream, {streams} streams"),
        format!("memory of the worker, expired / before, {streams}"),
    ]
}

pub fn wants(plan: &Plan, report: &Report) -> bool {
    names(plan).iter().any(|name| report.wants(name))
}

pub async fn run(snapshotted: &Snapshotted<'_>, plan: &Plan, report: &mut Report) {
    if !wants(plan, report) {
        return;
    }
    let [p99, kept, left] = names(plan);
    // Ticks repeat the settings at the log's end, where a command finds them at once.
    let worker = ready(&snapshotted.at, 1).await;
    if report.wants(&p99) {
        // The pause between two snapshots is longer than a snapshot.
        let every = (plan.largest / 33_000).clamp(2, 30);
        set(&snapshotted.at, &["--snapshot-every", &format!("{every}s")]).await;
        let answers = asked(snapshotted, &worker, report.pairs).await;
        let wrote = lines(&worker.log(), WROTE);
        let at = |percent| classified(&answers, &wrote, percent);
        let (p50s, slowest) = (at(50), at(100));
        report.add(p99, "ms", at(99), Target::AtMost(1.5));
        report.note(format!(
            "status while a snapshot is written / not: p50 {:.2} / {:.2} ms, slowest {:.0} / {:.0} ms; \
             writing one took {:.1} s",
            median(p50s.ours),
            median(p50s.bare),
            median(slowest.ours),
            median(slowest.bare),
            median(wrote.iter().map(took).collect()),
        ));
        set(&snapshotted.at, &["--snapshot-every", "1h"]).await;
    }
    if report.wants(&kept) || report.wants(&left) {
        let full = settled_memory(&worker).await;
        let before = memory_of_few(snapshotted.at.broker).await;
        let each = (full - before) / snapshotted.streams as f64;
        if report.wants(&kept) {
            report.add(kept, "bytes", Pairs::of([each], []), Target::None);
        }
        if report.wants(&left) {
            let after = expired(snapshotted, &worker).await;
            let pairs = Pairs::of([after / 1e6], [before / 1e6]);
            report.add(left, "MB", pairs, Target::AtMost(1.2));
        }
    }
}

/// The time of a reply, and its waiting time in milliseconds.
type Answer = (f64, f64);

/// Sends requests without a pause, until this number of snapshots were written.
async fn asked(snapshotted: &Snapshotted<'_>, worker: &Worker, snapshots: usize) -> Vec<Answer> {
    let mut caller = Caller::connect(snapshotted.at.broker).await;
    let exchange = snapshotted.at.names().exchange().to_owned();
    let mut random = fastrand::Rng::with_seed(3);
    let mut all = Vec::new();
    loop {
        for _ in 0..BLOCK {
            let account = corpus::account(random.usize(..snapshotted.streams));
            let (ms, reply) = caller.ask(&exchange, "status", &account).await;
            is_right(&reply, &account);
            all.push((now(), ms));
        }
        let wrote = lines(&worker.log(), WROTE);
        if classified(&all, &wrote, 99).ours.len() >= snapshots {
            return all;
        }
        let most = 10 * snapshots + 10;
        assert!(wrote.len() < most, "no answer came while one was written");
    }
}

/// A percentile of the waiting times during each snapshot, paired with that before it. The first
/// snapshot is left out, since it started before the requests.
fn classified(answers: &[Answer], wrote: &[Value], percent: usize) -> Pairs {
    let mut pairs = Pairs::default();
    let within = |from: f64, to: f64| {
        let within = answers.iter().filter(|(at, _)| (from..to).contains(at));
        percentile(within.map(|(_, ms)| *ms).collect(), percent)
    };
    for two in wrote.windows(2) {
        let [before, this] = two else { continue };
        let end = at(this);
        let begin = end - took(this);
        let (during, between) = (within(begin, end), within(at(before), begin));
        if during.is_finite() && between.is_finite() {
            pairs.ours.push(during);
            pairs.bare.push(between);
        }
    }
    pairs
}

/// The duration of writing a snapshot, in seconds.
fn took(wrote: &Value) -> f64 {
    seconds(wrote["took"].as_str().expect("a time"))
}

/// Parses a duration from the worker's log, such as `1.5s` or `12.3ms`.
fn seconds(text: &str) -> f64 {
    let unit = text.find(char::is_alphabetic).or(text.find('µ'));
    let (number, unit) = text.split_at(unit.expect("a unit"));
    let number: f64 = number.parse().expect("a number");
    match unit {
        "s" => number,
        "ms" => number / 1e3,
        "ns" => number / 1e9,
        _ => number / 1e6,
    }
}

/// Memory of a worker after a few viewers, in bytes: its buffers have been used.
async fn memory_of_few(broker: &Broker) -> f64 {
    let at = Installation::declared(broker, "2s").await;
    let worker = ready(&at, 1).await;
    let heartbeats = (0..ROUNDS as u64).flat_map(|round| corpus::shuffled(0..FEW, round));
    let heartbeats = heartbeats.map(|n| (n, corpus::later(n)));
    publish_heartbeats(&at, "heartbeats of few", heartbeats).await;
    forgotten(&worker).await;
    // Each operation once.
    moment(&worker, WROTE, 1).await;
    let bytes = settled_memory(&worker).await;
    drop(worker);
    let deleted = at.cli(&["topology", "delete", "--yes"]).await;
    deleted.exits(exit::DONE);
    bytes
}

/// Memory of a worker after all records have expired.
async fn expired(snapshotted: &Snapshotted<'_>, worker: &Worker) -> f64 {
    // A lower TTL applies once players use its interval.
    let ttl = Duration::from_secs((snapshotted.streams as u64 / 100_000).max(2));
    set(&snapshotted.at, &["--ttl", &format!("{}s", ttl.as_secs())]).await;
    let order = corpus::shuffled(0..snapshotted.streams, corpus::LATER).into_iter();
    let every_ms = ttl.as_millis() / 3;
    let heartbeats = order.map(|n| (n, corpus::later_every(n, every_ms)));
    publish_heartbeats(&snapshotted.at, "the last heartbeats", heartbeats).await;
    forgotten(worker).await;
    settled_memory(worker).await
}

async fn forgotten(worker: &Worker) {
    eprintln!("  waiting until all records have expired");
    eventually(PATIENCE, "all have expired and are published", async || {
        let series = worker.series().await;
        // Absent while the worker is not ready.
        let known = |name| {
            let mut known = series.iter().filter(|(series, _)| series.starts_with(name));
            known.next().map(|(_, value)| *value)
        };
        let left = ["streamwatch_records", "streamwatch_unannounced"].map(known);
        (left == [Some(0.0); 2]).then_some(()).ok_or(left)
    })
    .await;
}

/// Memory of a worker once it no longer shrinks, in bytes.
async fn settled_memory(worker: &Worker) -> f64 {
    let (mut least, mut looks) = (f64::MAX, 0);
    eventually(PATIENCE, "its memory no longer shrinks", async || {
        let bytes = resident(worker.pid());
        looks = if bytes < least { 0 } else { looks + 1 };
        least = least.min(bytes);
        (looks == ENOUGH).then_some(least).ok_or(bytes)
    })
    .await
}
