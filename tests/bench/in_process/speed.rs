//! Speed of decoding, of applying, of both, and of replies.

use std::hint::black_box;

use serde::Serialize;
use streamwatch::domain::{AccountId, AccountKey, Entry, StatusQuery, StatusRequest, Tenant};
use streamwatch::replica::Effect;
use streamwatch::wire;

use super::bare::{self, Bare};
use super::corpus::{self, Bodies};
use super::ours::Ours;
use crate::pairs::{Pairs, ns_each};
use crate::report::{Report, Target};

/// Requests in one measurement.
const QUESTIONS: usize = 100_000;

fn decode_all(bodies: &Bodies) {
    for message in bodies.messages() {
        black_box(wire::entry(&message).expect("a heartbeat"));
    }
}

pub fn run(streams: usize, report: &mut Report) {
    let names = [
        "decode",
        "decode of three pairs",
        "apply",
        "decode + apply",
        "activity",
    ]
    .map(|what| format!("{what}, {streams} streams"));
    if !names.iter().any(|name| report.wants(name)) {
        return;
    }
    let [decode, with_metadata, apply, both, activity] = names;
    let bodies = Bodies::later(streams);
    let count = bodies.len();
    // A small number is repeated for several rounds.
    let rounds = (1_000_000 / streams).clamp(1, 20);
    let each =
        |work: &mut dyn FnMut()| ns_each(count * rounds, || (0..rounds).for_each(|_| work()));

    let floor = bare::filled(streams);
    let mut ours = Ours::filled(streams);
    let pairs = report.pairs;
    if report.wants(&decode) {
        let measured = Pairs::measure(
            pairs,
            || each(&mut || decode_all(&bodies)),
            || each(&mut || bare::decode_all(&bodies)),
        );
        report.add(decode, "ns", measured, Target::None);
    }
    if report.wants(&with_metadata) {
        let bodies = Bodies::first(streams);
        let measured = Pairs::measure(
            pairs,
            || each(&mut || decode_all(&bodies)),
            || each(&mut || bare::decode_all_metadata(&bodies)),
        );
        report.add(with_metadata, "ns", measured, Target::None);
    }
    if report.wants(&apply) {
        let decoded = bodies
            .messages()
            .map(|m| wire::entry(&m).expect("a heartbeat"));
        let entries: Vec<Entry> = decoded.collect();
        let accounts: Vec<&str> = bodies.iter().map(|b| bare::decode(b).account).collect();
        let measured = Pairs::measure(
            pairs,
            || each(&mut || ours.run_decoded(&entries)),
            || {
                each(&mut || {
                    accounts
                        .iter()
                        .for_each(|account| bare::get(&floor, account));
                })
            },
        );
        report.add(apply, "ns", measured, Target::None);
    }
    if report.wants(&both) {
        let measured = Pairs::measure(
            pairs,
            || each(&mut || ours.run(&bodies)),
            || each(&mut || serde_and_get(&bodies, &floor)),
        );
        // The ratio to the baseline's speed.
        let rates = |ns: Vec<f64>| ns.into_iter().map(|ns| 1e9 / ns);
        let measured = Pairs::of(rates(measured.ours), rates(measured.bare));
        let target = if streams >= 100_000 {
            Target::AtLeast(0.8)
        } else {
            Target::None
        };
        report.add(both, "events/s", measured, target);
    }
    if report.wants(&activity) {
        answers(streams, &mut ours, &floor, activity, report);
    }
}

fn serde_and_get(bodies: &Bodies, floor: &Bare) {
    for body in bodies.iter() {
        let body = bare::decode(body);
        black_box(body.stream);
        bare::get(floor, body.account);
    }
}

/// The minimal reply: the value as JSON.
#[derive(Serialize)]
struct Plain<'a> {
    account: &'a str,
    count: usize,
    streams: [&'a bare::Value; 1],
}

fn answers(streams: usize, ours: &mut Ours, floor: &Bare, name: String, report: &mut Report) {
    let mut random = fastrand::Rng::with_seed(1);
    let asked: Vec<_> = (0..QUESTIONS)
        .map(|_| corpus::account(random.usize(..streams)))
        .collect();
    let tenant = Tenant::new(corpus::TENANT).expect("letters");
    let key = |account: &str| AccountKey::new(&tenant, &AccountId::new(account).expect("letters"));
    let measured = Pairs::measure(
        report.pairs,
        || {
            let mut answered = 0;
            let each = ns_each(QUESTIONS, || {
                for account in &asked {
                    let question = StatusRequest {
                        key: key(account),
                        query: StatusQuery::default(),
                    };
                    let now = ours.now();
                    ours.replica.status(0, question, now);
                    for effect in ours.replica.take_effects() {
                        if let Effect::Answer {
                            answer, group_by, ..
                        } = effect
                        {
                            black_box(wire::answer(&answer, &group_by, None).body.len());
                            answered += 1;
                        }
                    }
                }
            });
            assert_eq!(answered, QUESTIONS, "each was answered");
            each
        },
        || {
            ns_each(QUESTIONS, || {
                for account in &asked {
                    let value = floor.get(account.as_str()).expect("it is there");
                    let plain = Plain {
                        account,
                        count: 1,
                        streams: [&value],
                    };
                    black_box(serde_json::to_vec(&plain).expect("it encodes"));
                }
            })
        },
    );
    report.add(name, "ns", measured, Target::None);
}
