//! Draining a log that has been filled: from attaching to it until its end has been read.
//!
//! The worker says that it is attached when RabbitMQ has confirmed its consumer; everything else is
//! connected by then. It then appends a mark, and takes requests as soon as it reads that mark
//! behind everything else: this one round trip, its ticks once a second and its other connection
//! are in its figures. The bare consumer attaches with the same prefetch and acknowledges as often,
//! looks at each entry's offset alone, and has reached the end at the last entry that was in the
//! log when it began.

use super::Plan;
use super::filling::told;
use super::party::{ATTACHED, Party, TAKING, bare, moment, worker};
use super::site::Site;
use crate::pairs::{Pairs, Whose, in_turns};
use crate::report::{Report, Target};

fn names(plan: &Plan) -> [String; 3] {
    let events = plan.events;
    [
        format!("log drained, {events} events"),
        format!("CPU per event, log drained, {events} events"),
        format!("log drained, 4 partitions / 1, {events} events"),
    ]
}

pub fn wants(plan: &Plan, report: &Report) -> bool {
    names(plan).iter().any(|name| report.wants(name))
}

/// One run.
struct Drained {
    entries: f64,
    seconds: f64,
    cpu: f64,
}

impl Drained {
    fn rate(&self) -> f64 {
        self.entries / self.seconds
    }

    fn cpu_us(&self) -> f64 {
        self.cpu / self.entries * 1e6
    }
}

pub async fn run(one: &Site<'_>, plan: &Plan, report: &mut Report) {
    let [speed, cpu, four] = names(plan);
    if report.wants(&speed) || report.wants(&cpu) {
        let (ours, bare) = in_turns(report.pairs, async |whose| match whose {
            Whose::Ours => {
                let end = told(&one.at, 0).await;
                by_worker(one, plan, end + 1).await
            }
            Whose::Bare => by_consumer(one).await,
        })
        .await;
        let pairs = |figure: fn(&Drained) -> f64| {
            Pairs::of(ours.iter().map(figure), bare.iter().map(figure))
        };
        if report.wants(&speed) {
            report.add(
                speed,
                "events/s",
                pairs(Drained::rate),
                Target::AtLeast(0.95),
            );
        }
        if report.wants(&cpu) {
            report.add(cpu, "us", pairs(Drained::cpu_us), Target::AtMost(1.4));
        }
    }
    if report.wants(&four) {
        let many = Site::filled(one.at.broker, 4, plan).await;
        let (of_four, of_one) = in_turns(report.pairs, async |whose| {
            let site = if whose == Whose::Ours { &many } else { one };
            // Of the players' alone: each log has a worker's ticks besides.
            by_worker(site, plan, plan.events as u64).await.rate()
        })
        .await;
        report.add(
            four,
            "events/s",
            Pairs::of(of_four, of_one),
            Target::AtLeast(0.95),
        );
        many.delete().await;
    }
}

async fn by_worker(site: &Site<'_>, plan: &Plan, entries: u64) -> Drained {
    let mut worker = worker(site.at.broker, &site.at.namespace);
    let partitions = usize::from(site.partitions);
    let from = moment(&worker, ATTACHED, 1).await;
    let to = moment(&worker, TAKING, partitions).await;
    let applied = worker.metric("streamwatch_entries_total", "").await;
    assert!(
        applied >= plan.events as f64,
        "it applied {applied} entries"
    );
    let log = worker.log();
    let whole = log.matches("reading all of the log").count();
    assert_eq!(whole, partitions, "it began with a snapshot: {log}");
    worker.kill().await;
    Drained {
        entries: entries as f64,
        seconds: to.at - from.at,
        cpu: to.cpu - from.cpu,
    }
}

async fn by_consumer(site: &Site<'_>) -> Drained {
    let end = told(&site.at, 0).await;
    let (log, last) = (site.at.names().log(0), end.to_string());
    let consumer = bare(site.at.broker, &["bare-drain", &log, &last]);
    let from = moment(&consumer, ATTACHED, 1).await;
    let to = moment(&consumer, TAKING, 1).await;
    // Offsets may have gaps where a segment ends, so this is not exact.
    let read = to.line["entries"].as_f64().expect("a number");
    assert!(read > 0.99 * end as f64, "it read {read} entries of {end}");
    Drained {
        entries: (end + 1) as f64,
        seconds: to.at - from.at,
        cpu: to.cpu - from.cpu,
    }
}
