//! Draining a filled log, by the worker and by each peer in turns. A peer's CPU time includes that
//! of its Redis.

use super::super::Plan;
use super::super::drained::{Drained, by_worker, ends, until_drained};
use super::super::filled::Filled;
use super::{Peer, Running};
use crate::pairs::Pairs;
use crate::report::{Report, Target};

fn names(plan: &Plan, peer: Peer) -> [String; 2] {
    let (peer, events) = (peer.name(), plan.events);
    [
        format!("log drained / {peer}, {events} events"),
        format!("CPU per event, drained / {peer}, {events} events"),
    ]
}

pub fn wants(plan: &Plan, report: &Report, peer: Peer) -> bool {
    names(plan, peer).iter().any(|name| report.wants(name))
}

pub async fn run(filled: &Filled<'_>, peers: &[Peer], plan: &Plan, report: &mut Report) {
    if peers.is_empty() {
        return;
    }
    let mut ours = Vec::new();
    let mut theirs: Vec<Vec<Drained>> = peers.iter().map(|_| Vec::new()).collect();
    for n in 0..report.pairs {
        let mut order: Vec<_> = (0..=peers.len()).collect();
        order.rotate_left(n % (peers.len() + 1));
        for turn in order {
            match peers.get(turn) {
                Some(&peer) => theirs[turn].push(by_peer(filled, peer, plan.events).await),
                None => ours.push(by_worker(filled, plan.events).await),
            }
        }
    }
    for (&peer, theirs) in peers.iter().zip(theirs) {
        let [speed, cpu] = names(plan, peer);
        let pairs = |figure: fn(&Drained) -> f64| {
            Pairs::of(ours.iter().map(figure), theirs.iter().map(figure))
        };
        if report.wants(&speed) {
            report.add(speed, "events/s", pairs(Drained::rate), Target::None);
        }
        if report.wants(&cpu) {
            report.add(cpu, "us", pairs(Drained::cpu_us), Target::None);
        }
    }
}

/// A peer drains the log, which contains this number of players' messages.
async fn by_peer(filled: &Filled<'_>, peer: Peer, messages: usize) -> Drained {
    let ends = ends(filled).await;
    let running = Running::start(peer, filled, ends[0].1).await;
    until_drained(&running, &ends, messages).await
}
