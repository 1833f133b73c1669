//! An installation side log is to be drained.

use super::Plan;
use super::filling::fill;
use super::measured_process::{TAKING, moment, worker};
use crate::broker::fixture::{Broker, Installation, Worker, exit};
use crate::in_process::corpus;

pub struct Filled<'b> {
    pub at: Installation<'b>,
    pub partitions: u16,
}

impl<'b> Filled<'b> {
    /// Creates an installation side logs contain the plan's events. It has no snapshot logs, so
    /// workers read the logs from their beginning.
    pub async fn filled(broker: &'b Broker, partitions: u16, plan: &Plan) -> Self {
        let at = Installation::bare(broker);
        let number = partitions.to_string();
        let declare = [
            "topology",
            "declare",
            "--ttl",
            "1h",
            "--partitions",
            &number,
        ];
        at.cli(&declare).await.exits(exit::DONE);
        if partitions > 1 {
            // A worker binds the ring.
            drop(ready(&at, partitions).await);
        }
        for number in 0..partitions {
            at.delete_queue(at.names().snapshots(number)).await;
        }
        let rounds = (0..plan.events.div_ceil(plan.accounts))
            .flat_map(|round| corpus::shuffled(0..plan.accounts, round as u64));
        let heartbeats = rounds.take(plan.events).map(|n| (n, corpus::later(n)));
        let what = format!("filling {partitions} log(s)");
        fill(&at, partitions, &what, heartbeats).await;
        Self { at, partitions }
    }

    /// A worker that has read all entries.
    pub async fn caught_up(&self) -> Worker {
        ready(&self.at, self.partitions).await
    }

    pub async fn delete(self) {
        let deleted = self.at.cli(&["topology", "delete", "--yes"]).await;
        deleted.exits(exit::DONE);
    }
}

/// A worker that consumes the requests of every partition.
pub async fn ready(at: &Installation<'_>, partitions: u16) -> Worker {
    let worker = worker(at.broker, &at.namespace);
    moment(&worker, TAKING, usize::from(partitions)).await;
    worker
}
