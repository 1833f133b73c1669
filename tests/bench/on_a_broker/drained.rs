//! Draining a filled log, from attaching to it until its end has been read.
//!
//! The worker logs that it is attached once RabbitMQ has confirmed its consumer; its other
//! connections are open by then. It then appends a marker, and consumes requests as soon as it
//! reads the marker. Its figures include this round trip, a tick per second and the other
//! connection. The baseline attaches with the same prefetch and ack interval, and reads only each
//! entry's offset. It ends at the last entry that was in the log at its start.

use super::Plan;
use super::filled::Filled;
use super::filling::record_announced;
use super::measured_process::{ATTACHED, MeasuredProcess, TAKING, bare, moment, worker};
use crate::pairs::{Pairs, median};
use crate::report::{Report, Target};

fn names(plan: &Plan) -> [String; 4] {
    let events = plan.events;
    [
        format!("log drained, {events} events"),
        format!("CPU per event, log drained, {events} events"),
        format!("4 logs drained, {events} events"),
        format!("log drained, 4 partitions / 1, {events} events"),
    ]
}

pub fn wants(plan: &Plan, report: &Report) -> bool {
    names(plan).iter().any(|name| report.wants(name))
}

/// One run.
pub struct Drained {
    /// Entries; of batches, the heartbeats in them.
    events: f64,
    seconds: f64,
    cpu: f64,
}

impl Drained {
    pub fn rate(&self) -> f64 {
        self.events / self.seconds
    }

    pub fn cpu_us(&self) -> f64 {
        self.cpu / self.events * 1e6
    }

    /// Replaces the number of entries by the number of their events: a batch contains several.
    pub fn of(self, events: usize) -> Self {
        let events = events as f64;
        Self { events, ..self }
    }
}

const DRAIN: &str = "bare-drain";

/// The side to measure.
#[derive(Clone, Copy)]
enum Turn {
    Ours,
    Bare,
    Four,
    BareFour,
}

pub async fn run(one: &Filled<'_>, plan: &Plan, report: &mut Report) {
    if !wants(plan, report) {
        return;
    }
    let [speed, cpu, four, scaled] = names(plan);
    let many = if report.wants(&four) || report.wants(&scaled) {
        Some(Filled::filled(one.at.broker, 4, plan).await)
    } else {
        None
    };
    let with_bare = [&speed, &cpu, &scaled]
        .iter()
        .any(|name| report.wants(name));
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let (mut of_four, mut bare_four) = (Vec::new(), Vec::new());
    for n in 0..report.pairs {
        let mut order = [Turn::Ours, Turn::Bare, Turn::Four, Turn::BareFour];
        order.rotate_left(n % 4);
        for turn in order {
            match (turn, &many) {
                (Turn::Ours, _) => ours.push(by_worker(one, plan.events).await),
                (Turn::Bare, _) if with_bare => {
                    bare.push(by_consumer(one, DRAIN, plan.events).await);
                }
                (Turn::Four, Some(many)) => of_four.push(by_worker(many, plan.events).await),
                (Turn::BareFour, Some(many)) => {
                    bare_four.push(by_consumer(many, DRAIN, plan.events).await);
                }
                (Turn::Bare | Turn::Four | Turn::BareFour, _) => {}
            }
        }
    }
    let of = |all: &[Drained], figure: fn(&Drained) -> f64| -> Vec<f64> {
        all.iter().map(figure).collect()
    };
    if report.wants(&speed) {
        let pairs = Pairs::of(of(&ours, Drained::rate), of(&bare, Drained::rate));
        report.add(speed, "events/s", pairs, Target::AtLeast(0.95));
    }
    if report.wants(&cpu) {
        let pairs = Pairs::of(of(&ours, Drained::cpu_us), of(&bare, Drained::cpu_us));
        report.add(cpu, "us", pairs, Target::AtMost(1.4));
    }
    if let Some(many) = many {
        let (four_rates, bare_rates) = (of(&of_four, Drained::rate), of(&bare_four, Drained::rate));
        if report.wants(&four) {
            let pairs = Pairs::of(four_rates.clone(), bare_rates.clone());
            report.add(four, "events/s", pairs, Target::AtLeast(0.95));
        }
        if report.wants(&scaled) {
            let pairs = Pairs::of(four_rates, of(&ours, Drained::rate));
            let cpu = |all: &[Drained]| median(of(all, Drained::cpu_us));
            let room = Pairs::of(bare_rates, of(&bare, Drained::rate)).ratio();
            // If the broker delivers less to four baselines, it also limits four workers.
            let target = match room >= 1.0 {
                true => Target::AtLeast(0.95),
                false => Target::None,
            };
            report.add(scaled, "events/s", pairs, target);
            report.note(format!(
                "4 partitions: {:.1} us of CPU per event, 1 partition: {:.1} us; the bare \
                 consumers drain 4 logs {room:.2} times as fast as 1: so much room the broker has",
                cpu(&of_four),
                cpu(&ours),
            ));
        }
        many.delete().await;
    }
}

/// The name of each log and the offset of its end, once recorded.
pub async fn ends(filled: &Filled<'_>) -> Vec<(String, u64)> {
    let mut ends = Vec::new();
    for number in 0..filled.partitions {
        let end = record_announced(&filled.at, number).await;
        ends.push((filled.at.names().log(number), end));
    }
    ends
}

fn entries(ends: &[(String, u64)]) -> f64 {
    ends.iter().map(|(_, end)| end + 1).sum::<u64>() as f64
}

/// A worker drains the logs, which contain this number of players' messages.
pub async fn by_worker(filled: &Filled<'_>, messages: usize) -> Drained {
    let ends = ends(filled).await;
    let mut worker = worker(filled.at.broker, &filled.at.namespace);
    let partitions = usize::from(filled.partitions);
    let from = moment(&worker, ATTACHED, 1).await;
    let to = moment(&worker, TAKING, partitions).await;
    let applied = worker.metric("streamwatch_entries_total", "").await;
    assert!(applied >= messages as f64, "it applied {applied} entries");
    let log = worker.log();
    let whole = log.matches("reading the whole log").count();
    assert_eq!(whole, partitions, "it began with a snapshot: {log}");
    worker.kill().await;
    Drained {
        events: entries(&ends),
        seconds: to.at - from.at,
        cpu: to.cpu - from.cpu,
    }
}

/// A baseline drains the logs, which contain this number of players' messages.
pub async fn by_consumer(filled: &Filled<'_>, baseline: &str, messages: usize) -> Drained {
    let ends = ends(filled).await;
    let mut what = vec![baseline.to_owned()];
    for (log, end) in &ends {
        what.extend([log.clone(), end.to_string()]);
    }
    let what: Vec<_> = what.iter().map(String::as_str).collect();
    let consumer = bare(filled.at.broker, &what);
    until_drained(&consumer, &ends, messages).await
}

/// A process that was just started drains the logs, which contain this number of players' messages.
pub async fn until_drained(
    consumer: &impl MeasuredProcess,
    ends: &[(String, u64)],
    messages: usize,
) -> Drained {
    let from = moment(consumer, ATTACHED, 1).await;
    let to = moment(consumer, TAKING, 1).await;
    assert_eq!(to.line["entries"], messages, "it read all");
    Drained {
        events: entries(ends),
        seconds: to.at - from.at,
        cpu: to.cpu - from.cpu,
    }
}
