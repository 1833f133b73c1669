//! A soak, from its start to its report.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use streamwatch::client::Client;
use tokio::sync::watch::{self as signal};
use tokio::time::{Instant, sleep};

use super::broker::fixture::Races;
use super::checker::{Checker, LATE};
use super::faults::{self, Done};
use super::follower::Followed;
use super::hostile::{self, Hostile};
use super::ledger::Ledger;
use super::lifecycle::{Comparison, Lifecycle};
use super::log_time::{Wall, counts_for, now};
use super::logs::Logs;
use super::report::Report;
use super::targets::{Nodes, PARTITIONS, TTLS, Targets, WORKERS};
use super::viewers::Viewers;
use super::watch::{Memory, Watch};

/// Time before the first fault, in which all viewers start.
const CALM: Duration = Duration::from_secs(15);
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Time after the last fault within which all events are published.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(30);
/// Log time keeps up with time while a worker is ready. A worker that has just lost its broker
/// reports it only after three intervals.
const LEAST_SPEED: f64 = 0.9;

pub struct Plan {
    pub seconds: f64,
    pub seed: u64,
    pub viewers: usize,
}

impl Plan {
    fn faults(&self) -> usize {
        let every = faults::EVERY.as_secs_f64();
        (self.seconds / every).max(1.0) as usize
    }
}

const fn ms(duration: Duration) -> i64 {
    duration.as_millis() as i64
}

/// Actors and observers of a run.
struct Run<'s> {
    targets: &'s Targets<'s>,
    logs: Arc<Logs>,
    viewers: Viewers,
    checker: Checker,
    hostile: Hostile,
    lifecycle: Lifecycle,
    watch: Watch,
    done: Mutex<Vec<Done>>,
}

pub async fn run(plan: &Plan, nodes: Nodes<'_>) -> Report {
    eprintln!(
        "{} viewers, {WORKERS} workers, {PARTITIONS} partitions, {} RabbitMQ nodes, {} faults, seed {}",
        plan.viewers,
        nodes.nodes.len(),
        plan.faults(),
        plan.seed
    );
    let began = Instant::now();
    let targets = Targets::start(nodes).await;
    let names = targets.installation.names();
    let logs = Arc::new(Logs::follow(&targets.addresses(), &names, PARTITIONS));
    let lifecycle = Lifecycle::follow(targets.nodes.all.url(), &names).await;
    let ledger = Arc::new(Ledger::new(ms(TTLS[0])));
    let viewers = Viewers::start(plan.viewers, plan.seed, &ledger, |n| {
        // One of the connections uses a proxy, which faults disturb.
        let broker = if n == 0 {
            &targets.viewers.broker
        } else {
            targets.nodes.all
        };
        let url = broker.url().parse().expect("the broker's URL");
        Client::connect(url, names.clone())
    });
    let races = Races::start(targets.installation.backend());
    let checker = Checker::new(targets.installation.backend(), &ledger, &logs);
    let run = Run {
        targets: &targets,
        logs,
        viewers,
        checker,
        hostile: Hostile::new(&targets, &ledger).await,
        lifecycle,
        watch: Watch::default(),
        done: Mutex::default(),
    };
    let (stop, stopped) = signal::channel(false);
    let (follower, backend) = (
        run.lifecycle.follower.clone(),
        targets.installation.backend(),
    );
    let names = run.viewers.ledger.accounts();
    let comparing = follower.compare(backend, names, plan.seed, stopped.clone());
    let comparing = tokio::spawn(comparing);
    let asking = tokio::spawn(run.checker.clone().ask(plan.seed, stopped));
    let settled = run.viewers.settled();
    let hostile = tokio::spawn(run.hostile.clone().publish(plan.seed, settled));
    let ready = tokio::select! {
        () = run.watch.look(&targets) => unreachable!("it never returns"),
        () = run.progress(began) => unreachable!("it never returns"),
        ready = run.play(plan, stop) => ready,
    };
    asking.await.expect("the checker does not panic");
    comparing.await.expect("the follower does not panic");
    hostile.await.expect("the hostile player does not panic");
    run.report(began, ready, races).await
}

impl Run<'_> {
    fn done(&self) -> Vec<Done> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.clone()
    }

    async fn progress(&self, began: Instant) {
        loop {
            sleep(PROGRESS_EVERY).await;
            let (published, confirmed) = {
                let tally = &self.viewers.tally;
                (tally.published.load(Relaxed), tally.confirmed.load(Relaxed))
            };
            let faults = self.done().len();
            let found = self.checker.found();
            eprintln!(
                "{:>4} s  {faults} faults, {published} events, {confirmed} confirmed; {} requests, \
                 {} replies, {} compared: {} missing, {} over-counted, {} above max_active",
                began.elapsed().as_secs(),
                found.asked,
                found.waits.len(),
                found.judged,
                found.missing,
                found.over_counted,
                found.above
            );
        }
    }

    /// Executes the faults, with a calm before and after. Returns whether all workers are ready.
    async fn play(&self, plan: &Plan, stop: signal::Sender<bool>) -> bool {
        sleep(CALM).await;
        let faults = faults::plan(plan.seed, plan.faults(), self.targets.nodes.nodes.len());
        let time = Duration::from_secs_f64(plan.seconds);
        let ledger = &self.viewers.ledger;
        faults::make(self.targets, ledger, &faults, time, |one| {
            eprintln!("        {}: ready after {:?}", one.kind, one.ready_after);
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push(one);
        })
        .await;
        // Freezes the viewers until all pending expiries have happened.
        self.viewers.settle();
        let quiet = ms(Duration::from_secs(5));
        let from = now() + quiet;
        sleep(Duration::from_secs(5)).await;
        self.viewers.ledger.no_more_doubt();
        self.passed(from, counts_for(ms(TTLS[1]))).await;
        stop.send_replace(true);
        self.checker.everybody().await;
        self.targets.is_ready().await
    }

    /// Waits until this log time has passed in every log.
    async fn passed(&self, from: Wall, log_time: i64) {
        self.logs.all_known(from).await;
        loop {
            let left = self
                .logs
                .all()
                .map(|log| log_time - log.time.between(from, now()));
            if left.max().is_none_or(|left| left < 0) {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn report(mut self, began: Instant, ready: bool, races: Races) -> Report {
        let mut report = Report::default();
        report.must(ready, || "the workers are not ready at the end".to_owned());
        // Before the viewers leave, whose streams would then rightly expire.
        let comparison = self.compare().await;
        let follower = &self.lifecycle.follower;
        let (backend, names) = (
            self.targets.installation.backend(),
            self.viewers.ledger.accounts(),
        );
        follower.compare_all(backend, names).await;
        let followed = follower.followed();
        let broke = self.viewers.leave().await;
        report.must(broke.is_none(), || format!("a viewer panicked: {broke:?}"));
        self.logs.all_known(now()).await;
        self.viewers_rows(&mut report);
        self.checker_rows(&mut report);
        races_rows(&mut report, races).await;
        self.log_rows(&mut report);
        hostile::rows(
            &mut report,
            &self.hostile.tally(),
            self.targets,
            &self.watch,
        )
        .await;
        lifecycle_rows(&mut report, &comparison);
        follower_rows(&mut report, &followed);
        let checker = self.checker.found();
        report.section("faults");
        report.faults(&self.done(), |one| {
            let during = checker.unanswered.iter();
            during
                .filter(|(from, until)| *from <= one.until && *until >= one.from)
                .count()
        });
        drop(checker);
        report.section("resident memory, MiB");
        let (workers, broker) = self.watch.memory();
        for (n, memory) in workers.iter().enumerate() {
            memory_row(&mut report, format!("worker {n}"), memory, 16);
        }
        memory_row(&mut report, "RabbitMQ".to_owned(), &broker, 128);
        report.section("the run");
        report.row("seconds", began.elapsed().as_secs());
        report
    }

    fn viewers_rows(&self, report: &mut Report) {
        let tally = &self.viewers.tally;
        report.section("viewers");
        for (name, counter) in [
            ("requests to open, retries included", &tally.requests),
            ("of which retries", &tally.retries),
            ("opened", &tally.opened),
            ("refused", &tally.refused),
            ("heartbeats and stops published", &tally.published),
            ("of these, confirmed batches", &tally.batches),
            ("confirmed", &tally.confirmed),
            ("ended by a stop", &tally.stopped),
            ("ended without a stop", &tally.crashed),
        ] {
            report.row(name, counter.load(Relaxed));
        }
        let wrong = tally.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        show(wrong.iter());
        report.none("impossible replies", wrong.len() as u64);
        let lost = self.lost();
        report.none("confirmed events that are not in the log", lost);
    }

    /// Number of confirmed heartbeats and stops that are not in the logs.
    fn lost(&self) -> u64 {
        let lives = self.viewers.ledger.lives();
        let missing = lives.iter().map(|(_, stream, life)| {
            let beats = self
                .logs
                .all()
                .filter_map(|log| log.beats.get(stream).copied());
            let beats: u32 = beats.sum();
            let stopped = self.logs.all().any(|log| log.stops.contains(stream));
            let stop = u64::from(life.stopped() && !stopped);
            stop + u64::from(life.beats.saturating_sub(beats))
        });
        missing.sum()
    }

    fn checker_rows(&self, report: &mut Report) {
        let mut found = self.checker.found();
        let faults = self.done();
        found.waits.sort_unstable();
        let waits = &found.waits;
        let percentile =
            |p: usize| waits.get((waits.len() * p / 100).min(waits.len().saturating_sub(1)));
        report.section("strong status requests");
        report.row("sent", found.asked);
        report.row("answered", waits.len());
        report.row(
            "waited, ms",
            json!({ "p50": percentile(50), "p99": percentile(99), "max": percentile(100) }),
        );
        let late = u64::try_from(LATE.as_millis()).unwrap_or(u64::MAX);
        report.row(
            "answered after more than 2 s",
            waits.iter().filter(|w| **w > late).count(),
        );
        let silence = (found.silence.as_secs_f64() * 10.0).round() / 10.0;
        report.row("longest time without any answer, s", silence);
        report.row("unanswered", found.unanswered.len());
        let calm = found.unanswered.iter().filter(|(from, until)| {
            let mut during = faults.iter().filter(|f| !f.kind.is_graceful());
            !during.any(|fault| *from <= fault.until && *until >= fault.from)
        });
        report.none("unanswered without a fault", calm.count() as u64);
        report.row("replies compared", found.judged);
        report.none("streams missing", found.missing);
        report.none("over-counted", found.over_counted);
        report.none("admitted above max_active", found.above);
        report.row("counted without a reply to their viewers", found.doubtful);
    }

    /// Compares the published events with the expected ones.
    async fn compare(&self) -> Comparison {
        let lives = self.viewers.ledger.lives();
        let until = Instant::now() + PUBLISHED_WITHIN;
        loop {
            let comparison = self.lifecycle.compare(&lives);
            if comparison.missing.is_empty() || Instant::now() > until {
                return comparison;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn log_rows(&self, report: &mut Report) {
        report.section("logs");
        report.row(
            "entries",
            self.logs.all().map(|log| log.entries).sum::<u64>(),
        );
        report.none("accounts in two partitions", self.logs.in_two_logs() as u64);
        let speed = self.watch.speed(&self.logs);
        let share = speed.passed as f64 / speed.ready.max(1) as f64;
        report.row(
            "log time, of the time while a worker was ready",
            format!("{share:.3}"),
        );
        report.must(share >= LEAST_SPEED, || {
            format!("log time stood still while a worker was ready: {share:.3}")
        });
        let ahead = self
            .logs
            .all()
            .map(|log| log.time.ahead())
            .max()
            .unwrap_or_default();
        report.row("log time ahead of time, ms", ahead);
        let most = counts_for(ms(TTLS[1])) - ms(TTLS[1]);
        report.must(ahead <= most, || {
            format!("log time ran ahead of time: {ahead} ms")
        });
    }
}

async fn races_rows(report: &mut Report, races: Races) {
    report.section("concurrent requests for max_active");
    let races = races.results().await;
    report.must(races.is_ok(), || {
        "concurrent requests were not answered".to_owned()
    });
    let races = races.unwrap_or_default();
    // The first winner may have expired.
    let judged: Vec<_> = races
        .iter()
        .filter(|race| ms(race.took) < ms(TTLS[0]))
        .collect();
    report.row("races", judged.len());
    let wrong: Vec<_> = judged
        .iter()
        .filter_map(|race| race.mistake.as_ref())
        .collect();
    show(wrong.iter().copied());
    report.none(
        "opened more or fewer streams than max_active",
        wrong.len() as u64,
    );
}

fn lifecycle_rows(report: &mut Report, comparison: &Comparison) {
    report.section("lifecycle");
    report.row("events published", comparison.events);
    report.row("repeated, identical", comparison.again);
    report.none("repeated, not identical", comparison.changed);
    for (name, wrong) in [
        ("events that were not published", &comparison.missing),
        (
            "ends that were published without cause",
            &comparison.false_ends,
        ),
    ] {
        show(wrong.iter());
        report.none(name, wrong.len() as u64);
    }
}

fn follower_rows(report: &mut Report, followed: &Followed) {
    report.section("a follower that counts `opened` minus ends");
    report.row("events whose count was compared", followed.events);
    report.row(
        "replies compared while an account was quiet",
        followed.quiet,
    );
    show(followed.mistakes.iter());
    report.none("wrong counts", followed.mistakes.len() as u64);
}

/// Prints some of the violations.
fn show<'t>(texts: impl Iterator<Item = &'t String>) {
    for text in texts.take(5) {
        eprintln!("WRONG: {text}");
    }
}

/// Reports a process's memory. The last quarter may need little more than the second.
fn memory_row(report: &mut Report, name: String, memory: &Memory, slack: u64) {
    let quarter = memory.len() / 4;
    let most = |part: &[u64]| part.iter().max().copied().unwrap_or_default();
    let (second, last) = (
        most(&memory[quarter..2 * quarter]),
        most(&memory[3 * quarter..]),
    );
    let value = json!({
        "begin": memory.first(), "middle": memory.get(2 * quarter), "end": memory.last(),
        "max": most(memory),
    });
    report.must(second == 0 || last <= second + second / 2 + slack, || {
        format!("{name}: memory grows, {second} MiB in the second quarter, {last} in the last")
    });
    report.row(name, value);
}
