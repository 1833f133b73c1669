//! Counts by metadata values, and pages of a tenant's accounts.

#![allow(clippy::disallowed_methods, reason = "there is no runtime here")]

use std::time::Instant;

use streamwatch::domain::{AccountsRequest, Settings, Tenant, TenantAnswer, TenantRequest};
use streamwatch::replica::Effect;

use super::{corpus::Bodies, ours::Ours};
use crate::{
    pairs::{Pairs, ns_each},
    report::{Report, Target},
};

/// Metadata keys of the corpus.
pub fn counting() -> Settings {
    Settings {
        count_by: vec!["channel".to_owned(), "device".to_owned()],
        ..Settings::default()
    }
}

pub fn run(streams: usize, report: &mut Report) {
    let apply = format!("decode + apply, counted by 2 keys beside none, {streams} streams");
    if report.wants(&apply) {
        let bodies = Bodies::later(streams);
        let mut none = Ours::filled(streams);
        let mut counted = Ours::filled_by(counting(), streams);
        let count = bodies.len();
        let measured = Pairs::measure(
            report.pairs,
            || ns_each(count, || counted.run(&bodies)),
            || ns_each(count, || none.run(&bodies)),
        );
        report.add(apply, "ns", measured, Target::None);
    }
    for min_active in [1, 3] {
        let page = format!(
            "longest step beside the first page of accounts with {min_active} streams, {streams} \
             accounts"
        );
        if report.wants(&page) {
            let mut ours = Ours::filled(streams);
            let (mut longest, mut all) = (Vec::new(), Vec::new());
            for _ in 0..report.pairs {
                let steps = first_page(&mut ours, streams, min_active);
                longest.push(1e3 * steps.iter().fold(0.0, |most, step| step.max(most)));
                all.push(1e3 * steps.iter().sum::<f64>());
            }
            report.add(page, "ms", Pairs::of(longest, all), Target::None);
        }
    }
}

/// Collects the first page of a thousand accounts. Returns the duration of each step, in seconds.
fn first_page(ours: &mut Ours, streams: usize, min_active: u32) -> Vec<f64> {
    let request = TenantRequest::Accounts(AccountsRequest {
        tenant: Tenant::new("acme").expect("letters"),
        min_active,
        after: None,
        limit: 1_000,
    });
    let mut steps = Vec::new();
    let now = ours.now();
    ours.replica.about_tenant(0, request, now);
    while ours.replica.is_scanning() {
        let began = Instant::now();
        ours.replica.scan(now);
        steps.push(began.elapsed().as_secs_f64());
    }
    // Each account has one stream.
    let has_more = min_active == 1 && streams > 1_000;
    let answered = ours.replica.take_effects().into_iter().any(|effect| {
        matches!(effect, Effect::AnswerTenant { answer: TenantAnswer::Accounts(page), .. }
            if page.has_more == has_more)
    });
    assert!(answered, "a page");
    steps
}
