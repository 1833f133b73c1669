//! The restart of a killed worker, from the start of its process until it consumes requests: it
//! reads the newest snapshot, then the log after it. The baseline reads the same messages with the
//! same prefetch and ack interval. It decodes nothing, and is given all offsets.
//!
//! Each run also measures the rate of applied entries after the snapshot, from attaching to the log
//! until its end, with this number of active streams. The first entries of the streams are in the
//! snapshot and are not counted. For few streams, there is a second installation with as many
//! entries after its snapshot.
//!
//! A restart does not change the input of the next one, except for a few entries of the worker: the
//! next snapshot is due after an hour of log time, and the worker is killed as soon as it is ready.

use super::Plan;
use super::measured_process::{
    ATTACHED, MeasuredProcess, TAKING, bare, lines, moment, now, worker,
};
use super::snapshotted::Snapshotted;
use crate::broker::fixture::Broker;
use crate::pairs::{Pairs, median};
use crate::report::{Report, Target};

fn names(plan: &Plan) -> [String; 2] {
    let Plan {
        largest,
        smallest,
        tail,
        ..
    } = plan;
    [
        format!("restart, {largest} streams, a tail of {tail}"),
        format!("events/s applied, {largest} streams / {smallest}"),
    ]
}

pub fn wants(plan: &Plan, report: &Report) -> bool {
    names(plan).iter().any(|name| report.wants(name))
}

/// One restart.
struct Restart {
    seconds: f64,
    /// The part until the process had attached to the log.
    attached: f64,
}

/// The side to measure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Large,
    Bare,
    Small,
}

pub async fn run<'b>(broker: &'b Broker, plan: &Plan, report: &mut Report) -> Snapshotted<'b> {
    let large = Snapshotted::with(broker, plan.largest, plan.tail).await;
    let [restart, applied] = names(plan);
    let small = match report.wants(&applied) {
        true => Some(Snapshotted::with(broker, plan.smallest, plan.tail).await),
        false => None,
    };
    let (mut at_large, mut bare, mut at_small) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..report.pairs {
        let mut order = [Turn::Large, Turn::Bare, Turn::Small];
        order.rotate_left(n % 3);
        for turn in order {
            match turn {
                Turn::Large if wants(plan, report) => at_large.push(by_worker(&large).await),
                Turn::Bare if report.wants(&restart) => bare.push(by_reader(&large).await),
                Turn::Small => {
                    if let Some(small) = &small {
                        at_small.push(by_worker(small).await);
                    }
                }
                Turn::Large | Turn::Bare => {}
            }
        }
    }
    let of = |all: &[Restart], figure: fn(&Restart) -> f64| -> Vec<f64> {
        all.iter().map(figure).collect()
    };
    if report.wants(&restart) {
        let pairs = Pairs::of(of(&at_large, |r| r.seconds), of(&bare, |r| r.seconds));
        report.add(restart, "s", pairs, Target::AtMost(1.3));
        let snapshot = |all: &[Restart]| median(of(all, |r| r.attached));
        report.note(format!(
            "restart: a snapshot of {:.1} MB, then {} entries; from the start until attached to \
             the log {:.2} s (bare {:.2} s)",
            large.snapshot.bytes as f64 / 1e6,
            large.tail(),
            snapshot(&at_large),
            snapshot(&bare),
        ));
    }
    if let Some(small) = small {
        let rate = |of: &[Restart], snapshotted: &Snapshotted<'_>| -> Vec<f64> {
            let seconds = of.iter().map(|r| r.seconds - r.attached);
            seconds
                .map(|seconds| snapshotted.tail() / seconds)
                .collect()
        };
        let pairs = Pairs::of(rate(&at_large, &large), rate(&at_small, &small));
        report.add(applied, "events/s", pairs, Target::AtLeast(0.8));
        small.delete().await;
    }
    large
}

async fn by_worker(snapshotted: &Snapshotted<'_>) -> Restart {
    let began = now();
    let mut worker = worker(snapshotted.at.broker, &snapshotted.at.namespace);
    let attached = moment(&worker, ATTACHED, 1).await;
    let ready = moment(&worker, TAKING, 1).await;
    let applied = worker.metric("streamwatch_entries_total", "").await;
    let restored = lines(&worker.log(), "restored a snapshot");
    worker.kill().await;
    assert_eq!(restored.len(), 1, "it began with the snapshot");
    assert_eq!(restored[0]["accounts"], snapshotted.streams, "{restored:?}");
    assert_eq!(
        restored[0]["start"], snapshotted.snapshot.start,
        "the same one"
    );
    // The snapshot contains the number of earlier entries.
    let players = (snapshotted.streams + snapshotted.beats) as f64;
    assert!(applied >= players, "it applied {applied} of {players}");
    Restart {
        seconds: ready.at - began,
        attached: attached.at - began,
    }
}

async fn by_reader(snapshotted: &Snapshotted<'_>) -> Restart {
    let (names, snapshot) = (snapshotted.at.names(), &snapshotted.snapshot);
    let (log, snapshots) = (names.log(0), names.snapshots(0));
    let offsets = [
        snapshot.first,
        snapshot.last,
        snapshot.start,
        snapshotted.end,
    ];
    let [first, last, start, end] = offsets.map(|offset| offset.to_string());
    let arguments = [
        "bare-restart",
        &snapshots,
        &first,
        &last,
        &log,
        &start,
        &end,
    ];
    let began = now();
    let reader = bare(snapshotted.at.broker, &arguments);
    let attached = moment(&reader, ATTACHED, 1).await;
    let ready = moment(&reader, TAKING, 1).await;
    let read = ready.line["entries"].as_f64().expect("a number");
    assert!(read >= snapshotted.beats as f64, "it read {read} entries");
    Restart {
        seconds: ready.at - began,
        attached: attached.at - began,
    }
}
