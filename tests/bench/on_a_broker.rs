//! Measurements of the worker on RabbitMQ, compared with baselines that do only the necessary work.
//! Each side is a process of its own, so that its CPU time and memory can be measured. The broker
//! and the requesting client are the same for both.

mod bare;
mod batches;
mod caller;
mod drained;
mod exclusive;
mod filled;
mod filling;
mod live;
mod measured_process;
mod opened;
mod paged;
mod peers;
mod restarted;
mod snapshotted;
mod status;

use super::report::Report;
use crate::broker::fixture::Broker;
use filled::Filled;
use peers::Peers;
use peers::status::Counted;

pub use bare::child;

/// The sizes of all measurements.
#[derive(Debug)]
pub struct Plan {
    /// Active streams of the large and the small measurement.
    pub largest: usize,
    pub smallest: usize,
    /// Heartbeats in a drained log, those in a drained log of batches, and the number of their
    /// accounts.
    pub events: usize,
    pub batched: usize,
    pub accounts: usize,
    /// Heartbeats after a snapshot.
    pub tail: usize,
}

impl Plan {
    pub fn new(streams: &[usize], events: usize, tail: usize) -> Self {
        let largest = streams.iter().copied().max().expect("a number of streams");
        let smallest = streams.iter().copied().min().expect("a number of streams");
        Self {
            largest,
            smallest,
            events,
            batched: 10 * events,
            accounts: largest.min(100_000).min(events),
            tail,
        }
    }
}

/// Runs all measurements on a private broker.
pub fn run(plan: &Plan, report: &mut Report) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let peers = Peers::wanted(plan, report);
        let drained = drained::wants(plan, report) || !peers.draining.is_empty();
        let batches = batches::wants(plan, report);
        let status = status::wants(plan, report) || exclusive::wants(plan, report);
        let asked = status || opened::wants(report) || !peers.replying.is_empty();
        let snapshotted = restarted::wants(plan, report)
            || paged::wants(plan, report)
            || live::wants(plan, report);
        if !drained && !batches && !asked && !snapshotted {
            return;
        }
        eprintln!("starting RabbitMQ");
        let broker = Broker::start().await;
        if drained || asked {
            let one = Filled::filled(&broker, 1, plan).await;
            drained::run(&one, plan, report).await;
            peers::drained::run(&one, &peers.draining, plan, report).await;
            if asked {
                let counted = Counted::fill(&one, plan).await;
                let worker = one.caught_up().await;
                peers::status::run(&counted, &peers.replying, plan, report).await;
                exclusive::run(&one, plan, report).await;
                status::run(&one, plan, report).await;
                opened::run(&one, report).await;
                drop(worker);
            }
            one.delete().await;
        }
        if batches {
            batches::run(&broker, plan, report).await;
        }
        if snapshotted {
            let large = restarted::run(&broker, plan, report).await;
            paged::run(&large, plan, report).await;
            live::run(&large, plan, report).await;
        }
    });
}
