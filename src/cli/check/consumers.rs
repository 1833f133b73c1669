//! Compares the consumers of request queues with the workers that follow the logs. Requests
//! delivered to a consumer without a worker are not answered.

use super::findings::Findings;
use crate::broker::{Names, topology::QueueState};

/// Compares each partition's queues with `workers`, the workers whose ticks were read in its log.
pub(super) fn check_consumers(
    names: &Names,
    queues: &[QueueState],
    workers: &[Option<usize>],
    findings: &mut Findings,
) {
    let mut all_well = true;
    for (partition, workers) in (0..).zip(workers) {
        let Some(workers) = workers else { continue };
        for queue in [names.init(partition), names.status(partition)] {
            let Some(state) = queues.iter().find(|it| it.name == queue) else {
                continue;
            };
            let consumers = state.consumers as usize;
            let message = format!("{queue} has {consumers} consumer(s) for {workers} worker(s)");
            if consumers > *workers {
                all_well = false;
                findings.fail(
                    "consumers",
                    message,
                    "if streamwatch_requests_interrupted_total grows, RabbitMQ cannot deliver some \
                     requests. Otherwise, dead consumers hold requests until their connections close: \
                     see `rabbitmqctl list_consumers` and deploy/RUNBOOK.md (StreamwatchDeadConsumers)",
                );
            } else if consumers < *workers {
                all_well = false;
                findings.warn(
                    "consumers",
                    message,
                    "a worker consumes no requests: its /readyz has the reason",
                );
            }
        }
    }
    if all_well {
        findings.ok("consumers", "each worker consumes requests");
    }
}
