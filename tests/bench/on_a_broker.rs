//! The real worker on a real RabbitMQ, beside bare programs that do only what its job cannot do
//! without. Each party is a process of its own, so that its CPU and memory can be counted; the
//! broker and the client that asks are the same for both.

mod bare;
mod caller;
mod drained;
mod filling;
mod live;
mod opened;
mod party;
mod restarted;
mod saved;
mod site;
mod status;

use super::report::Report;
use crate::broker::fixture::Broker;
use site::Site;

pub use bare::child;

/// How much of everything.
#[derive(Debug)]
pub struct Plan {
    /// Numbers of active streams of the large and the small measurement.
    pub largest: usize,
    pub smallest: usize,
    /// Heartbeats in a log that is drained, and of how many accounts they are.
    pub events: usize,
    pub accounts: usize,
    /// Heartbeats behind a snapshot.
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
            accounts: largest.min(100_000).min(events),
            tail,
        }
    }
}

/// Runs all of it against a broker of its own.
pub fn run(plan: &Plan, report: &mut Report) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let drained = drained::wants(plan, report);
        let asked = status::wants(plan, report) || opened::wants(report);
        let saved = restarted::wants(plan, report) || live::wants(plan, report);
        if !drained && !asked && !saved {
            return;
        }
        eprintln!("starting RabbitMQ");
        let broker = Broker::start().await;
        if drained || asked {
            let one = Site::filled(&broker, 1, plan).await;
            if drained {
                drained::run(&one, plan, report).await;
            }
            if asked {
                let worker = one.caught_up().await;
                status::run(&one, plan, report).await;
                opened::run(&one, report).await;
                drop(worker);
            }
            one.delete().await;
        }
        if saved {
            let large = restarted::run(&broker, plan, report).await;
            live::run(&large, plan, report).await;
        }
    });
}
