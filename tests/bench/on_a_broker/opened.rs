//! Opening streams one after another, compared with a service of the same hops. It consumes a
//! request, appends it to a log with confirms, reads it back, and replies with as many bytes.
//! Queues, exchanges and connections are of the same kinds.

use serde_json::Value;

use super::bare::topology::Topology;
use super::caller::Caller;
use super::filled::Filled;
use super::measured_process::{TAKING, bare, moment};
use crate::pairs::{Pairs, Side, in_turns, percentile};
use crate::report::{Report, Target};

const NAME: &str = "init p50";
/// Requests in one block.
const BLOCK: usize = 300;

pub fn wants(report: &Report) -> bool {
    report.wants(NAME)
}

pub async fn run(filled: &Filled<'_>, report: &mut Report) {
    if !wants(report) {
        return;
    }
    let broker = filled.at.broker;
    let mut caller = Caller::connect(broker).await;
    let topology = Topology::declare(&caller.channel, &filled.at.namespace).await;
    let players = filled.at.names().exchange().to_owned();
    let mut number = 0;
    let mut account = || {
        number += 1;
        format!("opener-{number:07}")
    };
    let (_, opened) = caller.ask(&players, "init", &account()).await;
    let length = opened.len().to_string();
    let arguments = ["bare-init", &topology.init, &topology.log, &length];
    let service = bare(broker, &arguments);
    moment(&service, TAKING, 1).await;
    let mut block = async |side, requests| {
        let mut took = Vec::new();
        for _ in 0..requests {
            let account = account();
            let exchange = match side {
                Side::Ours => &players,
                Side::Bare => &topology.exchange,
            };
            let (ms, reply) = caller.ask(exchange, "init", &account).await;
            match side {
                Side::Ours => is_right(&reply),
                Side::Bare => assert_eq!(reply.len(), opened.len()),
            }
            took.push(ms);
        }
        percentile(took, 50)
    };
    in_turns(1, async |side| block(side, 100).await).await;
    let (ours, bare) = in_turns(report.pairs, async |side| block(side, BLOCK).await).await;
    report.add(NAME, "ms", Pairs::of(ours, bare), Target::AtMost(1.2));
}

fn is_right(reply: &[u8]) {
    let reply: Value = serde_json::from_slice(reply).expect("JSON");
    let right = reply["type"] == "opened" && reply["activity"]["count"] == 1;
    assert!(right, "{reply}");
}
