//! Speed of decoding batches, and of decoding and applying them.

use std::borrow::Cow;
use std::hint::black_box;

use serde::Deserialize;
use streamwatch::wire;
use uuid::Uuid;

use super::bare::{self, Bare};
use super::corpus::Batches;
use super::ours::Ours;
use crate::pairs::{Pairs, ns_each};
use crate::report::{Report, Target};

/// Events in each batch.
pub const SIZE: usize = 200;

/// A batch, as serde reads it.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "each field is parsed, as a worker must")]
struct Event<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    account: Cow<'a, str>,
    stream: Uuid,
}

/// Parses an entry, if it is a batch.
pub fn parse(body: &[u8]) {
    if let Ok(batch) = serde_json::from_slice::<Batch>(body) {
        black_box(&batch.events);
    }
}

fn parse_and_get(body: &[u8], floor: &Bare) {
    let batch = serde_json::from_slice::<Batch>(body).expect("a batch");
    for event in &batch.events {
        bare::get(floor, &event.account);
    }
    black_box(&batch.events);
}

pub fn run(streams: usize, report: &mut Report) {
    let names = ["decode", "decode + apply"]
        .map(|what| format!("{what} of batches of {SIZE}, {streams} streams"));
    if !names.iter().any(|name| report.wants(name)) {
        return;
    }
    let [decode, both] = names;
    let batches = Batches::later(streams, SIZE);
    // A small number is repeated for several rounds.
    let rounds = (1_000_000 / streams).clamp(1, 20);
    let each =
        |work: &mut dyn FnMut()| ns_each(streams * rounds, || (0..rounds).for_each(|_| work()));
    if report.wants(&decode) {
        let measured = Pairs::measure(
            report.pairs,
            || {
                each(&mut || {
                    for message in batches.messages() {
                        black_box(wire::entry(&message).expect("a batch"));
                    }
                })
            },
            || each(&mut || batches.iter().for_each(parse)),
        );
        report.add(decode, "ns", measured, Target::None);
    }
    if report.wants(&both) {
        let floor = bare::filled(streams);
        let mut ours = Ours::filled(streams);
        let measured = Pairs::measure(
            report.pairs,
            || each(&mut || ours.run_batches(&batches)),
            || each(&mut || batches.iter().for_each(|body| parse_and_get(body, &floor))),
        );
        report.add(both, "ns", measured, Target::None);
    }
}
