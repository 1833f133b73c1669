//! Full tenants, and the expiry of all streams at one tick.

use super::{corpus::Bodies, ours::Ours};
use crate::{
    pairs::{Pairs, ns_each},
    report::{Report, Target},
};

/// The number of full tenants, compared with none.
const FULL: usize = 10_000;

pub fn run(streams: usize, report: &mut Report) {
    let apply = format!("decode + apply, {FULL} full tenants beside none, {streams} streams");
    if report.wants(&apply) {
        let bodies = Bodies::later(streams);
        let (mut full, mut none) = (Ours::filled(streams), Ours::filled(streams));
        full.full_tenants(FULL);
        let count = bodies.len();
        let measured = Pairs::measure(
            report.pairs,
            || ns_each(count, || full.run(&bodies)),
            || ns_each(count, || none.run(&bodies)),
        );
        report.add(apply, "ns", measured, Target::None);
    }
    let expire = format!("longest call beside all, {streams} streams expire at one tick");
    if report.wants(&expire) {
        let (mut longest, mut all) = (Vec::new(), Vec::new());
        for _ in 0..report.pairs {
            let mut ours = Ours::empty();
            ours.take(&Bodies::first(streams));
            let calls = ours.expire();
            longest.push(1e3 * calls.iter().fold(0.0, |most, call| call.max(most)));
            all.push(1e3 * calls.iter().sum::<f64>());
        }
        report.add(expire, "ms", Pairs::of(longest, all), Target::None);
    }
}
