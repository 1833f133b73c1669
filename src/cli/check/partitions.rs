//! Checks every partition's log, its settings, its workers and their clocks.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{connection, findings::Findings, leaders};
use crate::{
    broker::{Addresses, BrokerError, LogObserver, Names, survey},
    cli::output::duration,
    worker::wall,
};

/// Logs that are read concurrently.
const AT_ONCE: usize = 16;
/// Largest accepted difference of a worker's wall clock.
const SKEW: Duration = Duration::from_secs(2);
/// Longest accepted time from appending an entry to reading it.
const SLOW: Duration = Duration::from_secs(1);

/// A log as it was watched, and its newest snapshot.
type Watched = Result<(LogObserver, leaders::Newest), BrokerError>;

/// Reads all logs for a while, and prints the findings in order. Returns the number of workers that
/// follow each; `None` if its log could not be read.
pub(super) async fn look(
    addresses: &Addresses,
    names: &Names,
    partitions: u16,
    watched: Duration,
    findings: &mut Findings,
) -> Vec<Option<usize>> {
    let surveys = stream::iter(0..partitions).map(|partition| async move {
        let link = connection::open(addresses).await?;
        let survey = survey(link, names, partition, watched, wall).await?;
        let newest = leaders::newest_snapshot(addresses, names, partition).await;
        Ok((survey, newest))
    });
    let surveys: Vec<_> = surveys.buffered(AT_ONCE).collect().await;
    for (partition, survey) in surveys.iter().enumerate() {
        one(&format!("log p{partition:02}"), survey, findings);
        if let Ok((survey, newest)) = survey {
            leaders::one(&format!("leader p{partition:02}"), survey, newest, findings);
        }
    }
    let seen: Vec<_> = surveys.iter().flatten().map(|(survey, _)| survey).collect();
    settings(&seen, findings);
    clocks(&seen, findings);
    let workers = surveys
        .iter()
        .map(|it| Some(it.as_ref().ok()?.0.workers.len()));
    workers.collect()
}

fn one(what: &str, survey: &Watched, findings: &mut Findings) {
    let survey = match survey {
        Ok((survey, _)) => survey,
        Err(error) => return findings.fail_with(what, error.clone()),
    };
    let round_trip = Duration::from_micros(survey.round_trip.as_micros().try_into().unwrap_or(0));
    let message = format!(
        "written and read again in {}, ticks of {} worker(s)",
        duration(round_trip),
        survey.workers.len()
    );
    match survey.workers.len() {
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

fn settings(seen: &[&LogObserver], findings: &mut Findings) {
    let mut numbers: Vec<_> = seen.iter().filter_map(|s| s.settings.as_ref()).collect();
    numbers.dedup();
    match numbers.as_slice() {
        // Without a worker there are none, which was reported above.
        [] => {}
        [all] => findings.ok(
            "settings",
            format!(
                "number {}, TTL {}",
                all.number,
                duration(Duration::from_millis(all.ttl_ms))
            ),
        ),
        _ => findings.fail(
            "settings",
            "the partitions have different settings, because a change was interrupted",
            "run `streamwatch topology set` again",
        ),
    }
}

fn clocks(seen: &[&LogObserver], findings: &mut Findings) {
    let workers = seen.iter().flat_map(|survey| &survey.workers);
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
        "no worker's is more than {} {side} this machine's",
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
