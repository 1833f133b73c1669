//! Observations: readiness of workers, memory of all processes, and counters of the workers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::broker::fixture::Broker;
use super::counters::Counted;
use super::log_time::{Wall, now};
use super::logs::Logs;
use super::targets::{Targets, WORKERS};

const EVERY: Duration = Duration::from_millis(500);
/// Memory and metrics are read in every tenth round.
const MEMORY_EVERY: u32 = 10;

/// Resident memory of one process over time, in MiB.
pub type Memory = Vec<u64>;

#[derive(Debug, Default)]
struct Seen {
    /// Intervals between two reports of readiness of an undisturbed worker.
    ready: Vec<(Wall, Wall)>,
    workers: [Memory; WORKERS],
    broker: Memory,
    counted: Counted,
}

#[derive(Debug, Default)]
pub struct Watch(Mutex<Seen>);

/// Log time that passed while a worker was ready, in the slowest log.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Time in which a worker was ready, in milliseconds.
    pub ready: i64,
    /// Log time that passed in it.
    pub passed: i64,
}

impl Watch {
    /// Observes the site. Never returns.
    pub async fn look(&self, targets: &Targets<'_>) {
        let mut timer = interval(EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = (now(), [false; WORKERS]);
        for n in 0.. {
            timer.tick().await;
            let mut ready = [false; WORKERS];
            for (place, ready) in targets.places.iter().zip(&mut ready) {
                *ready = place.probe().is_ready().await;
            }
            let at = now();
            if n % MEMORY_EVERY == 0 {
                self.count(targets).await;
            }
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if before.1.iter().zip(ready).any(|(was, is)| *was && is) {
                seen.ready.push((before.0, at));
            }
            before = (at, ready);
            if n % MEMORY_EVERY == 0 {
                for (place, memory) in targets.places.iter().zip(&mut seen.workers) {
                    memory.extend(resident_mib(place.probe().pid));
                }
                let nodes = targets.nodes.nodes.iter().filter_map(Broker::pid);
                let nodes: u64 = nodes.filter_map(resident_mib).sum();
                seen.broker.extend((nodes > 0).then_some(nodes));
            }
        }
    }

    /// Scrapes the workers' metrics.
    pub async fn count(&self, targets: &Targets<'_>) {
        for (n, place) in targets.places.iter().enumerate() {
            let probe = place.probe();
            let series = probe.series().await;
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.counted.add(n, probe, series);
        }
    }

    /// Sums of the workers' counters, by metric and labels.
    pub fn counted(&self) -> BTreeMap<String, u64> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.counted.sums()
    }

    /// The memory of every worker, and of RabbitMQ.
    pub fn memory(&self) -> ([Memory; WORKERS], Memory) {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.workers.clone(), seen.broker.clone())
    }

    pub fn speed(&self, logs: &Logs) -> Speed {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = seen.ready.iter().map(|(from, until)| until - from).sum();
        let passed = logs.all().map(|log| {
            let spans = seen.ready.iter();
            spans
                .map(|(from, until)| log.time.between(*from, *until))
                .sum()
        });
        Speed {
            ready,
            passed: passed.min().unwrap_or_default(),
        }
    }
}

/// `None` if there is no such process.
fn resident_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().split(' ').next()?.parse().ok()?;
    Some(kib / 1_024)
}
