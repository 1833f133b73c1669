//! `status` requests, one in flight, in blocks for the worker and for a stateless service that
//! replies with as many bytes.
//!
//! Both consume a quorum queue with the same arguments behind the same kinds of exchanges, and
//! reply on a second connection. Players in the background, if any, publish to the worker's
//! installation during both kinds of blocks, and the worker applies their events during both: only
//! the replying service differs.

use serde_json::Value;

use super::Plan;
use super::bare::SAYS;
use super::bare::topology::Topology;
use super::caller::Caller;
use super::filled::Filled;
use super::measured_process::{MeasuredProcess, TAKING, at, bare, lines, moment};
use crate::in_process::corpus;
use crate::pairs::{Pairs, Side, in_turns, percentile};
use crate::report::{Report, Target};

/// Requests in one block.
const FEW: usize = 300;
const MANY: usize = 1_000;

/// Heartbeats per second: those in the log within 30 s.
const fn rate(plan: &Plan) -> usize {
    plan.events / 30
}

fn names(plan: &Plan) -> [String; 2] {
    let (accounts, rate) = (plan.accounts, rate(plan));
    [
        format!("status p50, {accounts} streams"),
        format!("status p99, {accounts} streams, {rate} events/s"),
    ]
}

pub fn wants(plan: &Plan, report: &Report) -> bool {
    names(plan).iter().any(|name| report.wants(name))
}

pub async fn run(filled: &Filled<'_>, plan: &Plan, report: &mut Report) {
    if !wants(plan, report) {
        return;
    }
    let broker = filled.at.broker;
    let [p50, p99] = names(plan);
    let mut caller = Caller::connect(broker).await;
    let topology = Topology::declare(&caller.channel, &filled.at.namespace).await;
    let players = filled.at.names().exchange().to_owned();
    let (_, answer) = caller.ask(&players, "status", &corpus::account(0)).await;
    let length = answer.len().to_string();
    let echo = bare(broker, &["bare-echo", &topology.status, &length]);
    moment(&echo, TAKING, 1).await;
    let mut random = fastrand::Rng::with_seed(1);
    let mut block = async |side, questions| {
        let mut took = Vec::new();
        for _ in 0..questions {
            let account = corpus::account(random.usize(..plan.accounts));
            let exchange = match side {
                Side::Ours => &players,
                Side::Bare => &topology.exchange,
            };
            let (ms, reply) = caller.ask(exchange, "status", &account).await;
            match side {
                Side::Ours => is_right(&reply, &account),
                Side::Bare => assert_eq!(reply.len(), answer.len()),
            }
            took.push(ms);
        }
        took
    };
    // The first requests are slower on both sides.
    in_turns(1, async |side| block(side, 100).await).await;
    if report.wants(&p50) {
        let (ours, bare) = in_turns(report.pairs, async |side| {
            percentile(block(side, FEW).await, 50)
        })
        .await;
        report.add(p50, "ms", Pairs::of(ours, bare), Target::AtMost(1.15));
    }
    if report.wants(&p99) {
        let (accounts, wanted) = (plan.accounts.to_string(), rate(plan).max(1).to_string());
        let background = bare(broker, &["bare-publish", &players, &accounts, &wanted]);
        moment(&background, SAYS, 1).await;
        let (ours, bare) = in_turns(report.pairs, async |side| block(side, MANY).await).await;
        moment(&background, SAYS, 2).await;
        let said = lines(&background.log(), SAYS);
        let (first, last) = (&said[0], &said[said.len() - 1]);
        let count = |line: &Value| line["entries"].as_f64().expect("a number");
        let reached = (count(last) - count(first)) / (at(last) - at(first));
        let p99s = |blocks: Vec<Vec<f64>>| blocks.into_iter().map(|block| percentile(block, 99));
        let pairs = Pairs::of(p99s(ours), p99s(bare));
        report.add(p99, "ms", pairs, Target::AtMost(1.5));
        report.note(format!(
            "status p99: the background reached {reached:.0} events/s of {wanted}"
        ));
    }
}

/// Asserts that the reply is the activity of an account with one stream.
pub fn is_right(reply: &[u8], account: &str) {
    let reply: Value = serde_json::from_slice(reply).expect("JSON");
    let right = reply["type"] == "activity"
        && reply["activity"]["account"] == account
        && reply["activity"]["count"] == 1;
    assert!(right, "about {account}: {reply}");
}
