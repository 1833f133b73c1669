//! Health and readiness of the process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One partition's state, as its worker last reported it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PartitionHealth {
    /// Its number.
    pub partition: u16,
    /// Connected, caught up, not lagging, not shutting down.
    pub ready: bool,
    /// The log is attached.
    pub connected: bool,
    /// Caught up since it was attached.
    pub caught_up: bool,
    /// Age of the state, in milliseconds.
    pub lag_ms: Option<u64>,
    /// The reason why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When this was reported, in milliseconds of a monotonic clock.
    #[serde(skip)]
    pub reported_at_ms: u64,
}

/// Age from which on a report is outdated, in milliseconds.
pub(super) const STALE_MS: u64 = 5_000;
/// Time without progress after which a partition's thread counts as stuck, in milliseconds. Longer
/// than any single step, such as a million streams expiring together.
const STUCK_MS: u64 = 30_000;

/// Health of the intake.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct IntakeHealth {
    /// Its queues are consumed.
    pub ready: bool,
    /// The reason why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Health of a worker at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Every partition is ready, and the intake, if the installation has one.
    pub ready: bool,
    /// The reason why the worker follows no partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The partitions that it follows.
    pub partitions: Vec<PartitionHealth>,
    /// The intake, if the installation has several partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intake: Option<IntakeHealth>,
}

/// The health of a worker. Not ready until it follows partitions that are.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waits: Option<String>,
    partitions: BTreeMap<u16, PartitionHealth>,
    intake: Option<IntakeHealth>,
    /// Time of the last run of each partition's thread, by the clock of reports, in milliseconds.
    pulses: BTreeMap<u16, u64>,
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the reason why the worker follows no partition yet.
    pub fn waits(&self, reason: String) {
        self.state().waits = Some(reason);
    }

    /// Sets the partitions that the worker follows. None is ready yet.
    pub fn follows(&self, partitions: &[u16], intake: bool) {
        let none_ready = partitions.iter().map(|&partition| {
            let health = PartitionHealth {
                partition,
                ..PartitionHealth::default()
            };
            (partition, health)
        });
        *self.state() = State {
            waits: None,
            partitions: none_ready.collect(),
            intake: intake.then(IntakeHealth::default),
            pulses: BTreeMap::new(),
        };
    }

    /// Records progress of a partition's thread. To be called every second.
    pub fn pulse(&self, partition: u16, now_ms: u64) {
        self.state().pulses.insert(partition, now_ms);
    }

    /// Returns the reason to restart the process, if a thread is stuck. An unavailable broker is
    /// not a reason.
    pub fn restart_reason(&self, now_ms: u64) -> Option<String> {
        let state = self.state();
        let silent = |at: &u64| now_ms.saturating_sub(*at);
        let (partition, at) = state.pulses.iter().max_by_key(|(_, at)| silent(at))?;
        let ms = silent(at);
        let text = format!(
            "the thread of partition {partition} has been stuck for {} s",
            ms / 1_000
        );
        (ms > STUCK_MS).then_some(text)
    }

    /// Reports one partition.
    pub fn report(&self, health: PartitionHealth) {
        self.state().partitions.insert(health.partition, health);
    }

    /// Reports the intake: `None` if it is consumed, else the reason.
    pub fn report_intake(&self, reason: Option<String>) {
        self.state().intake = Some(IntakeHealth {
            ready: reason.is_none(),
            reason,
        });
    }

    /// The health of the worker as of `now_ms` by the clock of reports.
    pub fn read(&self, now_ms: u64) -> Report {
        let state = self.state();
        let partitions = state.partitions.values().map(|health| {
            let mut health = health.clone();
            if health.ready && now_ms.saturating_sub(health.reported_at_ms) > STALE_MS {
                health.ready = false;
                health.reason = Some("its worker has not reported for a while".to_owned());
            }
            health
        });
        let partitions: Vec<_> = partitions.collect();
        let intake = state.intake.clone();
        Report {
            ready: !partitions.is_empty()
                && partitions.iter().all(|p| p.ready)
                && intake.as_ref().is_none_or(|i| i.ready),
            reason: state.waits.clone(),
            partitions,
            intake,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready_at(partition: u16, reported_at_ms: u64) -> PartitionHealth {
        PartitionHealth {
            partition,
            ready: true,
            reported_at_ms,
            ..PartitionHealth::default()
        }
    }

    #[test]
    fn a_worker_is_ready_when_its_partitions_and_intake_are() {
        let health = Health::default();
        assert!(!health.read(0).ready);
        health.waits("no topology".to_owned());
        assert_eq!(health.read(0).reason.as_deref(), Some("no topology"));
        health.follows(&[0, 3], true);
        health.report(ready_at(0, 5));
        health.report_intake(None);
        assert!(!health.read(5).ready);
        health.report(ready_at(3, 5));
        let report = health.read(5);
        assert!(report.ready && report.reason.is_none());
        health.report_intake(Some("lost".to_owned()));
        assert!(!health.read(5).ready);
    }

    #[test]
    fn a_process_is_healthy_while_all_its_threads_run() {
        let health = Health::default();
        assert_eq!(health.restart_reason(0), None);
        health.waits("no topology".to_owned());
        health.follows(&[0, 7], false);
        health.pulse(0, 1_000);
        health.pulse(7, 2_000);
        assert_eq!(health.restart_reason(1_000 + STUCK_MS), None);
        health.pulse(7, 31_000);
        let restart_reason = health.restart_reason(32_000).unwrap();
        assert_eq!(
            restart_reason,
            "the thread of partition 0 has been stuck for 31 s"
        );
        health.pulse(0, 32_000);
        assert_eq!(health.restart_reason(32_000), None);
    }

    #[test]
    fn a_partition_that_does_not_report_is_not_ready() {
        let health = Health::default();
        health.follows(&[0], false);
        health.report(ready_at(0, 1_000));
        assert!(health.read(1_000 + STALE_MS).ready);
        assert!(!health.read(1_001 + STALE_MS).ready);
    }
}
