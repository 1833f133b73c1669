//! Checks every partition's log, its settings, its workers and their clocks.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{CONNECTION, findings::Findings, leaders};
use crate::{
    broker::{BrokerError, LogObservation, observe_log},
    cli::{
        arguments::Installation,
        output::{duration, duration_ms},
    },
    worker::wall,
};

/// Logs that are read concurrently.
const AT_ONCE: usize = 16;
/// Largest accepted difference of a worker's wall clock.
const SKEW: Duration = Duration::from_secs(2);
/// Longest accepted time from appending an entry to reading it.
const SLOW: Duration = Duration::from_secs(1);

/// A log as it was watched, and its newest snapshot.
type Watched = Result<(LogObservation, leaders::Newest), BrokerError>;

/// Reads all logs for a while, and prints the findings in order. Returns the number of workers that
/// follow each; `None` if its log could not be read.
pub(super) async fn check_partitions(
    at: &Installation,
    partitions: u16,
    watched: Duration,
    findings: &mut Findings,
) -> Vec<Option<usize>> {
    let observations = stream::iter(0..partitions).map(|partition| async move {
        let connection = at.connect(CONNECTION).await?;
        let observed = observe_log(connection, &at.names, partition, watched, wall).await?;
        let newest = leaders::newest_snapshot(at, partition).await;
        Ok((observed, newest))
    });
    let observations: Vec<_> = observations.buffered(AT_ONCE).collect().await;
    for (partition, observed) in observations.iter().enumerate() {
        one(&format!("log p{partition:02}"), observed, findings);
        if let Ok((observed, newest)) = observed {
            leaders::one(
                &format!("leader p{partition:02}"),
                observed,
                newest,
                findings,
            );
        }
    }
    let seen: Vec<_> = observations
        .iter()
        .flatten()
        .map(|(observed, _)| observed)
        .collect();
    settings(&seen, findings);
    clocks(&seen, findings);
    let workers = observations
        .iter()
        .map(|it| Some(it.as_ref().ok()?.0.workers.len()));
    workers.collect()
}

fn one(what: &str, observed: &Watched, findings: &mut Findings) {
    let observed = match observed {
        Ok((observed, _)) => observed,
        Err(error) => return findings.fail_with(what, error.clone()),
    };
    let round_trip = Duration::from_micros(observed.round_trip.as_micros().try_into().unwrap_or(0));
    let message = format!(
        "written and read again in {}, ticks of {} worker(s)",
        duration(round_trip),
        observed.workers.len()
    );
    match observed.workers.len() {
        0 => findings.fail(
            what,
            message,
            "start a worker that follows this partition, or see its /readyz: no stream expires, and \
             no request is answered",
        ),
        _ if round_trip > SLOW => findings.warn(
            what,
            message,
            "the broker is slow: check its disks, its alarms, and its other users",
        ),
        1 => findings.warn(
            what,
            message,
            "start a second worker on another machine: without one, an outage of this worker stops answers",
        ),
        _ => findings.ok(what, message),
    }
}

fn settings(seen: &[&LogObservation], findings: &mut Findings) {
    let mut numbers: Vec<_> = seen.iter().filter_map(|s| s.settings.as_ref()).collect();
    numbers.dedup();
    match numbers.as_slice() {
        // Without a worker there are none, which was reported above.
        [] => {}
        [all] => {
            let ttl = duration_ms(all.ttl_ms);
            findings.ok("settings", format!("number {}, TTL {ttl}", all.number));
        }
        _ => findings.fail(
            "settings",
            "the partitions have different settings, because a change was interrupted",
            "run `streamwatch topology set` again",
        ),
    }
}

fn clocks(seen: &[&LogObservation], findings: &mut Findings) {
    let workers = seen.iter().flat_map(|observed| &observed.workers);
    let Some(worst) = workers.max_by_key(|worker| worker.ahead_ms.abs()) else {
        return;
    };
    let off = Duration::from_millis(worst.ahead_ms.unsigned_abs());
    let side = if worst.ahead_ms < 0 {
        "behind"
    } else {
        "ahead of"
    };
    let message = format!(
        "the clocks of the workers are at most {} {side} this machine's",
        duration(off)
    );
    if off > SKEW {
        findings.warn(
            "clocks",
            message,
            "set the clocks of these machines (NTP); expiry does not depend on them, but the times \
             in replies do",
        );
    } else {
        findings.ok("clocks", message);
    }
}
