//! `status` compared with the fastest echo on RabbitMQ: a stateless service that consumes an
//! exclusive queue behind one exchange, and replies with as many bytes as the worker.

use super::Plan;
use super::caller::Caller;
use super::filled::Filled;
use super::measured_process::{TAKING, bare, moment};
use super::status::is_right;
use crate::in_process::corpus;
use crate::pairs::{Pairs, Side, in_turns, percentile};
use crate::report::{Report, Target};

/// Requests in one block with one in flight.
const BLOCK: usize = 300;
const IN_FLIGHT: usize = 200;

/// Requests in one block with many in flight, some seconds.
const fn many(plan: &Plan) -> usize {
    plan.events / 15 + IN_FLIGHT
}

fn names(plan: &Plan) -> [String; 2] {
    let accounts = plan.accounts;
    [
        format!("status p50 / echo of an exclusive queue, {accounts}"),
        format!("status, {IN_FLIGHT} in flight / the same echo, {accounts}"),
    ]
}

pub fn wants(plan: &Plan, report: &Report) -> bool {
    names(plan).iter().any(|name| report.wants(name))
}

pub async fn run(filled: &Filled<'_>, plan: &Plan, report: &mut Report) {
    if !wants(plan, report) {
        return;
    }
    let [p50, rate] = names(plan);
    let broker = filled.at.broker;
    let mut caller = Caller::connect(broker).await;
    let players = filled.at.names().exchange().to_owned();
    let (_, answer) = caller.ask(&players, "status", &corpus::account(0)).await;
    let exchange = format!("{}exclusive", filled.at.namespace);
    let length = answer.len().to_string();
    let echo = bare(broker, &["bare-exclusive-echo", &exchange, &length]);
    moment(&echo, TAKING, 1).await;
    let mut random = fastrand::Rng::with_seed(1);
    let mut block = async |side, requests, in_flight| {
        let accounts = (0..requests).map(|_| corpus::account(random.usize(..plan.accounts)));
        let accounts: Vec<_> = accounts.collect();
        let exchange = match side {
            Side::Ours => &players,
            Side::Bare => &exchange,
        };
        let asked = caller
            .ask_all(exchange, "status", &accounts, in_flight)
            .await;
        for (account, (_, reply)) in accounts.iter().zip(&asked.replies) {
            match side {
                Side::Ours => is_right(reply, account),
                Side::Bare => assert_eq!(reply.len(), answer.len()),
            }
        }
        asked
    };
    // The first requests are slower on both sides.
    in_turns(1, async |side| block(side, 100, 1).await).await;
    if report.wants(&p50) {
        let (ours, bare) = in_turns(report.pairs, async |side| {
            let asked = block(side, BLOCK, 1).await;
            percentile(asked.replies.into_iter().map(|(ms, _)| ms).collect(), 50)
        })
        .await;
        report.add(p50, "ms", Pairs::of(ours, bare), Target::AtMost(1.3));
    }
    if report.wants(&rate) {
        let (ours, bare) = in_turns(report.pairs, async |side| {
            block(side, many(plan), IN_FLIGHT).await.rate()
        })
        .await;
        report.add(
            rate,
            "replies/s",
            Pairs::of(ours, bare),
            Target::AtLeast(0.9),
        );
    }
}
