//! An installation whose log was filled as it would be in use: by players, while a worker ticks and
//! announces. So what is drained later has a worker's entries between those of the players.

use std::time::Duration;

use super::Plan;
use super::filling::fill;
use super::party::{TAKING, moment, worker};
use crate::broker::fixture::{Broker, Installation, Worker, eventually, exit};
use crate::in_process::corpus;

/// Nothing here takes longer.
pub const PATIENCE: Duration = Duration::from_secs(600);

pub struct Site<'b> {
    pub at: Installation<'b>,
    pub partitions: u16,
}

impl<'b> Site<'b> {
    /// One with so many logs, which have the plan's events in them altogether. There is nowhere to
    /// write a snapshot: who starts reads the logs from their beginning.
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
        let worker = ready(&at, partitions).await;
        let rounds = (0..plan.events.div_ceil(plan.accounts))
            .flat_map(|_| corpus::shuffled(0..plan.accounts));
        let heartbeats = rounds.take(plan.events).map(|n| (n, corpus::later(n)));
        let what = format!("filling {partitions} log(s)");
        fill(&at, &what, plan.events, heartbeats).await;
        settled(&worker, plan.accounts).await;
        drop(worker);
        for number in 0..partitions {
            at.delete_queue(at.names().snapshots(number)).await;
        }
        Self { at, partitions }
    }

    /// A worker that has read all.
    pub async fn caught_up(&self) -> Worker {
        ready(&self.at, self.partitions).await
    }

    pub async fn delete(self) {
        let deleted = self.at.cli(&["topology", "delete", "--yes"]).await;
        deleted.exits(exit::DONE);
    }
}

/// A worker that takes requests of every partition.
pub async fn ready(at: &Installation<'_>, partitions: u16) -> Worker {
    let worker = worker(at.broker, &at.namespace);
    moment(&worker, TAKING, usize::from(partitions)).await;
    worker
}

/// Awaits that it counts so many streams, and has told the lifecycle about all.
pub async fn settled(worker: &Worker, streams: usize) {
    eventually(PATIENCE, "the worker has applied it all", async || {
        let counted = worker.metric("streamwatch_active_streams", "").await;
        let untold = worker.metric("streamwatch_unannounced", "").await;
        let done = counted == streams as f64 && untold == 0.0;
        done.then_some(()).ok_or((counted, untold))
    })
    .await;
}
