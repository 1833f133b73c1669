//! `status` requests, one in flight, in blocks for the worker and for a peer. Both have read the
//! same log, and nothing is published to it meanwhile. The counts in the replies are asserted.

use std::cmp::Ordering;

use serde_json::Value;

use super::super::Plan;
use super::super::caller::Caller;
use super::super::drained::ends;
use super::super::filled::Filled;
use super::super::filling::heartbeat;
use super::super::measured_process::{TAKING, moment};
use super::{Peer, Running};
use crate::in_process::corpus;
use crate::pairs::{Pairs, Side, in_turns, percentile};
use crate::report::{Report, Target};

/// Requests in one block.
const BLOCK: usize = 1_000;

fn names(plan: &Plan, peer: Peer) -> [String; 2] {
    let (peer, accounts) = (peer.name(), plan.accounts);
    [50, 99].map(|percent| format!("status p{percent} / {peer}, {accounts} streams"))
}

pub fn wants(plan: &Plan, report: &Report, peer: Peer) -> bool {
    names(plan, peer).iter().any(|name| report.wants(name))
}

/// A log whose accounts have one stream each, except one account with two.
pub struct Counted<'f> {
    filled: &'f Filled<'f>,
    /// The offset of the last of these entries, or of one after it.
    end: u64,
    /// The account with two streams. Those before it have one, those after it none.
    two: usize,
}

impl<'f> Counted<'f> {
    /// Publishes the heartbeats of the account with two streams. No worker may run.
    pub async fn fill(filled: &'f Filled<'_>, plan: &Plan) -> Self {
        let two = plan.accounts;
        let channel = filled.at.broker.confirming_channel().await;
        for stream in [two, two + 1] {
            let body = corpus::heartbeat(two, stream);
            heartbeat(&channel, filled.at.names().exchange(), two, body).await;
        }
        let end = ends(filled).await[0].1;
        Self { filled, end, two }
    }

    /// The number of an account's active streams.
    fn streams(&self, account: usize) -> u64 {
        match account.cmp(&self.two) {
            Ordering::Less => 1,
            Ordering::Equal => 2,
            Ordering::Greater => 0,
        }
    }
}

/// Measures peers beside a worker that consumes requests.
pub async fn run(counted: &Counted<'_>, peers: &[Peer], plan: &Plan, report: &mut Report) {
    for &peer in peers {
        measure(counted, peer, plan, report).await;
    }
}

async fn measure(counted: &Counted<'_>, peer: Peer, plan: &Plan, report: &mut Report) {
    let at = &counted.filled.at;
    let running = Running::start(peer, counted.filled, counted.end).await;
    moment(&running, TAKING, 1).await;
    let mut caller = Caller::connect(at.broker).await;
    let players = at.names().exchange().to_owned();
    let mut ask = async |side, account| {
        let name = corpus::account(account);
        let exchange = match side {
            Side::Ours => &players,
            Side::Bare => &running.exchange,
        };
        let (ms, reply) = caller.ask(exchange, "status", &name).await;
        let mut reply: Value = serde_json::from_slice(&reply).expect("JSON");
        let activity = match side {
            Side::Ours => reply["activity"].take(),
            Side::Bare => reply,
        };
        let right = activity["account"] == name && activity["count"] == counted.streams(account);
        assert!(right, "{side:?}, about {name}: {activity}");
        ms
    };
    for account in [counted.two - 1, counted.two, counted.two + 1] {
        in_turns(1, async |side| ask(side, account).await).await;
    }
    let mut random = fastrand::Rng::with_seed(1);
    let mut block = async |side, requests| {
        let mut took = Vec::new();
        for _ in 0..requests {
            took.push(ask(side, random.usize(..plan.accounts)).await);
        }
        took
    };
    // The first requests are slower on both sides.
    in_turns(1, async |side| block(side, 100).await).await;
    let (ours, theirs) = in_turns(report.pairs, async |side| block(side, BLOCK).await).await;
    for (name, percent) in names(plan, peer).into_iter().zip([50, 99]) {
        let of = |blocks: &[Vec<f64>]| -> Vec<f64> {
            let blocks = blocks.iter().cloned();
            blocks.map(|block| percentile(block, percent)).collect()
        };
        let pairs = Pairs::of(of(&ours), of(&theirs));
        let target = match (peer, percent) {
            (Peer::PikaDict, 50) => Target::AtMost(0.8),
            _ => Target::None,
        };
        if report.wants(&name) {
            report.add(name, "ms", pairs, target);
        }
    }
}
