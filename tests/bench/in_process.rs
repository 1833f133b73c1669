//! Measurements on one core without a broker: decoding, applying, deciding, replies, snapshots and
//! memory.

mod admissions;
mod bare;
mod batches;
mod copies;
pub mod corpus;
mod limits;
mod memory;
mod ours;
mod speed;
mod tenants;

use super::report::Report;
pub use batches::parse;

/// Runs all measurements at each number of streams.
pub fn run(streams: &[usize], report: &mut Report) {
    for &streams in streams {
        speed::run(streams, report);
        batches::run(streams, report);
        copies::run(streams, report);
        limits::run(streams, report);
        tenants::run(streams, report);
    }
    admissions::run(report);
    for &streams in streams {
        memory::run(streams, report);
    }
}

/// Runs one part of a measurement in its own process.
pub fn child(what: &[String]) {
    match what {
        [side, streams, channels] => {
            let [streams, channels] = [streams, channels].map(|n| n.parse().expect("a number"));
            memory::child(side, streams, channels);
        }
        _ => panic!("unknown: {what:?}"),
    }
}
