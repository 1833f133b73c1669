//! A worker with many active streams: the time to the first page of accounts, and the lag of log
//! entries meanwhile, which a strong `status` includes.

use std::time::Instant;

use tokio::task::JoinHandle;

use super::Plan;
use super::filled::ready;
use super::snapshotted::Snapshotted;
use crate::broker::fixture::{account, patient, strong, tenant};
use crate::in_process::corpus;
use crate::pairs::{Pairs, percentile};
use crate::report::{Report, Target};
use streamwatch::client::{AccountsRequest, Backend};

/// Requests between two changes of sides.
const BLOCK: usize = 200;

fn names(plan: &Plan) -> [String; 2] {
    let streams = plan.largest;
    [
        format!("first page of accounts beside a strong status, {streams}"),
        format!("strong status p99, accounts are paged / not, {streams}"),
    ]
}

pub fn wants(plan: &Plan, report: &Report) -> bool {
    names(plan).iter().any(|name| report.wants(name))
}

#[allow(clippy::disallowed_methods, reason = "a measurement")]
pub async fn run(snapshotted: &Snapshotted<'_>, plan: &Plan, report: &mut Report) {
    if !wants(plan, report) {
        return;
    }
    let [first, lag] = names(plan);
    let _worker = ready(&snapshotted.at, 1).await;
    let backend = patient(&snapshotted.at.backend());
    let streams = snapshotted.streams;
    if report.wants(&first) {
        let mut pairs = Pairs::default();
        for _ in 0..report.pairs {
            let began = Instant::now();
            page(&backend, streams).await;
            pairs.ours.push(1e3 * began.elapsed().as_secs_f64());
            pairs.bare.push(ask(&backend, streams).await);
        }
        report.add(first, "ms", pairs, Target::None);
    }
    if report.wants(&lag) {
        let mut pairs = Pairs::default();
        for _ in 0..report.pairs {
            let paging: JoinHandle<()> = tokio::spawn({
                let backend = backend.clone();
                async move {
                    loop {
                        page(&backend, streams).await;
                    }
                }
            });
            pairs.ours.push(p99(&backend, streams).await);
            paging.abort();
            pairs.bare.push(p99(&backend, streams).await);
        }
        report.add(lag, "ms", pairs, Target::None);
    }
}

async fn page(backend: &Backend, streams: usize) {
    let page = backend.accounts(&AccountsRequest::all(tenant())).await;
    let page = page.expect("an answer");
    let expected = (streams.min(1_000), 0);
    assert_eq!((page.accounts.len(), page.missing.len()), expected);
}

async fn p99(backend: &Backend, streams: usize) -> f64 {
    let mut all = Vec::with_capacity(BLOCK);
    for _ in 0..BLOCK {
        all.push(ask(backend, streams).await);
    }
    percentile(all, 99)
}

/// The waiting time of a strong `status`, in milliseconds.
#[allow(clippy::disallowed_methods, reason = "a measurement")]
async fn ask(backend: &Backend, streams: usize) -> f64 {
    let account = account(&corpus::account(fastrand::usize(..streams)));
    let began = Instant::now();
    let status = backend.status(&tenant(), &account, &strong()).await;
    assert_eq!(status.expect("an answer").activity.count(), 1);
    1e3 * began.elapsed().as_secs_f64()
}
