//! Checks the leader of a partition, the newest snapshot, and the buffered lifecycle events.

use super::{CONNECTION, findings::Findings};
use crate::{
    broker::{BrokerError, LogObservation, SnapshotLog},
    cli::{arguments::Installation, output::duration_ms},
    domain::LogTime,
};

/// Most buffered lifecycle events of a leader that publishes them.
const MANY: u64 = 10_000;
/// Largest accepted age of a snapshot, in snapshot intervals.
const OVERDUE: u64 = 3;

/// The log time at the start of the newest snapshot, if there is one.
pub(super) type Newest = Result<Option<LogTime>, BrokerError>;

pub(super) async fn newest_snapshot(at: &Installation, partition: u16) -> Newest {
    let connection = at.connect(CONNECTION).await?;
    let log = SnapshotLog::open(connection, at.names.snapshots(partition)).await?;
    let newest = log.find().await?.first().map(|place| place.now);
    log.close().await;
    Ok(newest)
}

/// Reports the leader of one partition.
pub(super) fn one(what: &str, observed: &LogObservation, newest: &Newest, findings: &mut Findings) {
    let leaders: Vec<_> = observed.workers.iter().filter(|it| it.leads).collect();
    let Some(leader) = leaders.first() else {
        let (message, remedy) = if observed.workers.is_empty() {
            (
                "no leader: no worker follows this partition",
                "start a worker",
            )
        } else {
            (
                "no worker leads: no lifecycle event is published, and no snapshot is written",
                "run `streamwatch check` again after some seconds, as a new leader takes over within \
                 three ticks; if there is none then, see /readyz and the logs of the workers",
            )
        };
        return findings.fail(what, message, remedy);
    };
    let every_ms = observed.settings.as_ref().map(|it| it.snapshot_every_ms);
    let age_ms = match newest {
        Ok(newest) => newest
            .zip(observed.log_time)
            .map(|(newest, now)| now.since(newest)),
        Err(error) => {
            findings.fail_with(what, error.clone());
            None
        }
    };
    let snapshot = match age_ms {
        None => "no snapshot yet".to_owned(),
        Some(ms) => format!("newest snapshot {} old", duration_ms(ms)),
    };
    let buffered = leader.unannounced;
    let message = format!(
        "worker {:016x} leads, {snapshot}, {buffered} lifecycle event(s) buffered",
        leader.writer
    );
    let overdue = age_ms
        .zip(every_ms)
        .is_some_and(|(age, every)| age > OVERDUE * every);
    if leaders.len() > 1 {
        findings.warn(
            what,
            format!("{} workers lead; {message}", leaders.len()),
            "events are published twice until one remains; run `streamwatch check` again after some \
             seconds",
        );
    } else if buffered > MANY {
        findings.warn(
            what,
            message,
            "the leader cannot publish events: see its log (cannot publish lifecycle events)",
        );
    } else if overdue {
        findings.warn(
            what,
            message,
            "the leader cannot write snapshots: see its log (cannot write a snapshot)",
        );
    } else {
        findings.ok(what, message);
    }
}
