//! An installation whose log is to be drained.

use super::Plan;
use super::filling::{Content, HEARTBEAT, fill};
use super::measured_process::{TAKING, moment, worker};
use crate::broker::fixture::{Broker, Installation, Worker, exit};
use crate::in_process::corpus;

pub struct Filled<'b> {
    pub at: Installation<'b>,
    pub partitions: u16,
}

impl<'b> Filled<'b> {
    /// Creates an installation whose logs contain the plan's heartbeats, one in each entry.
    pub async fn filled(broker: &'b Broker, partitions: u16, plan: &Plan) -> Self {
        let filled = Self::declared(broker, partitions).await;
        let heartbeats = heartbeats(plan, plan.events).map(|n| (n, corpus::later(n)));
        let what = format!("filling {partitions} log(s)");
        fill(&filled.at, partitions, &what, HEARTBEAT, heartbeats).await;
        filled
    }

    /// Creates an installation whose log contains these heartbeats in batches.
    pub async fn with_batches(broker: &'b Broker, plan: &Plan, batch: Content) -> Self {
        let filled = Self::declared(broker, 1).await;
        let batches = batches(plan, plan.batched, batch).into_iter();
        fill(&filled.at, 1, "filling a log with batches", batch, batches).await;
        filled
    }

    /// Creates an installation without snapshot logs, so that workers read the logs from their
    /// beginning.
    pub async fn declared(broker: &'b Broker, partitions: u16) -> Self {
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

/// Batches of `events` heartbeats, each with the number of its first stream.
pub fn batches(plan: &Plan, events: usize, batch: Content) -> Vec<(usize, String)> {
    let order: Vec<_> = heartbeats(plan, events).collect();
    let batches = order.chunks(batch.events);
    batches.map(|of| (of[0], corpus::batch(of))).collect()
}

/// The streams of `events` heartbeats.
fn heartbeats(plan: &Plan, events: usize) -> impl Iterator<Item = usize> {
    let rounds = (0..events.div_ceil(plan.accounts))
        .flat_map(|round| corpus::shuffled(0..plan.accounts, round as u64));
    rounds.take(events)
}

/// A worker that consumes the requests of every partition.
pub async fn ready(at: &Installation<'_>, partitions: u16) -> Worker {
    let worker = worker(at.broker, &at.namespace);
    moment(&worker, TAKING, usize::from(partitions)).await;
    worker
}
