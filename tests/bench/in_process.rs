//! One core, no broker: decoding, applying, answering, copying, restoring; and memory.

mod bare;
mod copies;
pub mod corpus;
mod limits;
mod memory;
mod ours;
mod speed;

use super::report::Report;

/// Runs all of it at each number of streams.
pub fn run(streams: &[usize], report: &mut Report) {
    for &streams in streams {
        speed::run(streams, report);
        copies::run(streams, report);
        limits::run(streams, report);
    }
    for &streams in streams {
        memory::run(streams, report);
    }
}

/// One part of a measurement, as a process of its own.
pub fn child(what: &[String]) {
    match what {
        [whose, streams, channels] => {
            let [streams, channels] = [streams, channels].map(|n| n.parse().expect("a number"));
            memory::child(whose, streams, channels);
        }
        _ => panic!("unknown: {what:?}"),
    }
}
