//! The figures at one moment, for the screen, for plain lines, and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    aggregate::{Replicas, fastest, per_second, tenants, tenths, totals, values},
    rows::{
        AccountRows, InstallationTotals, LifecycleRow, OpenedAccount, PartitionRow, PerSecond,
        ReplicaRow, TenantRow, ValueRow, WorkerRow,
    },
    state::{LifecycleSubscription, ListedEvent, MOST_SHOWN, State, Worker},
    worker_metrics::{Active, Contents, Counter, ReplicaMetrics, WorkerMetrics},
};
use crate::{domain::WallTime, wire::Rfc3339};

/// All figures; `None` if absent.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) at: Rfc3339,
    pub(super) interval_ms: u64,
    pub(super) totals: InstallationTotals,
    pub(super) per_second: PerSecond,
    pub(super) workers: Vec<WorkerRow>,
    pub(super) partitions: Vec<PartitionRow>,
    /// The tenants with the most streams.
    pub(super) tenants: Vec<TenantRow>,
    /// The values of the counted metadata keys with the most streams.
    pub(super) values: Vec<ValueRow>,
    pub(super) lifecycle: LifecycleRow,
    pub(super) accounts: AccountRows,
    /// The opened account.
    pub(super) account: Option<OpenedAccount>,
    /// Missing figures, each with a remedy.
    pub(super) problems: Vec<String>,
    #[serde(skip)]
    pub(super) events: Vec<ListedEvent>,
}

impl Summary {
    /// Computes the figures of `state` at `now`.
    pub(super) fn new(state: &State, now: WallTime, interval_ms: u64) -> Self {
        let pages = || {
            let workers = state.workers.iter().enumerate();
            workers
                .filter_map(|(n, worker)| Some((n, worker, worker.page.as_ref()?.as_ref().ok()?)))
        };
        let mut by_partition = BTreeMap::<u16, Replicas<'_>>::new();
        for (n, _, page) in pages() {
            for (partition, replica) in &page.replicas {
                let replicas = by_partition.entry(*partition).or_default();
                replicas.push((n, replica));
            }
        }
        let rates = by_partition.iter().filter_map(|(partition, replicas)| {
            Some((*partition, fastest(state, *partition, replicas)?))
        });
        let rates: BTreeMap<_, _> = rates.collect();
        let workers = pages().filter_map(|(_, worker, _)| worker.readings.worker());
        let mut all = Contents::default();
        let partitions = by_partition.iter().map(|(partition, replicas)| {
            let mut contents = Contents::default();
            for (_, replica) in replicas {
                contents.combine(&replica.contents, u64::max);
            }
            all.combine(&contents, |a, b| a + b);
            let rates = rates.get(partition);
            let heartbeats = rates.map(|rates| rates[Counter::Heartbeats as usize]);
            PartitionRow::new(*partition, replicas, contents.active, heartbeats)
        });
        let partitions: Vec<_> = partitions.collect();
        let replicas = by_partition.values().flatten();
        let ttl_ms = replicas.filter_map(|(_, it)| it.ttl_ms).max();
        Self {
            kind: "top",
            at: Rfc3339(now),
            interval_ms,
            totals: totals(&all, &partitions, ttl_ms),
            per_second: per_second(&rates, workers),
            workers: state.workers.iter().map(WorkerRow::new).collect(),
            partitions,
            tenants: tenants(&all),
            values: values(&all),
            lifecycle: LifecycleRow {
                subscribed: matches!(state.lifecycle, LifecycleSubscription::Listening),
                since: state.accounts.since,
                counts: state.accounts.counts,
            },
            accounts: AccountRows {
                since: state.accounts.since,
                listed: state.listing.has_listed,
                known: state.accounts.len(),
                evicted: state.accounts.evicted,
                largest: state.accounts.most(MOST_SHOWN),
            },
            account: state.opened.clone(),
            problems: problems(state),
            events: state.events.iter().cloned().collect(),
        }
    }

    /// Number of workers that respond.
    pub(super) fn answering(&self) -> usize {
        self.workers
            .iter()
            .filter(|worker| worker.reachable)
            .count()
    }

    /// The largest lag of a partition.
    pub(super) fn worst_lag_ms(&self) -> Option<u64> {
        self.partitions.iter().filter_map(|it| it.lag_ms).max()
    }
}

fn problems(state: &State) -> Vec<String> {
    let workers = state.workers.iter();
    let workers = workers.filter_map(|it| it.page.as_ref()?.as_ref().err().cloned());
    let of_lifecycle = match &state.lifecycle {
        LifecycleSubscription::NotAsked => {
            Some("no accounts and no events: AMQP_URL is not set".to_owned())
        }
        LifecycleSubscription::Lost(error) => Some(format!("{error}; trying again")),
        LifecycleSubscription::Connecting | LifecycleSubscription::Listening => None,
    };
    let opened = state.opened.iter();
    let of_account =
        opened.filter_map(|it| Some(format!("{}: {}", it.key.as_str(), it.error.as_ref()?)));
    of_lifecycle
        .into_iter()
        .chain(workers)
        .chain(state.listing.error.clone())
        .chain(of_account)
        .collect()
}

impl WorkerRow {
    fn new(worker: &Worker) -> Self {
        let page: Option<&WorkerMetrics> = worker.page.as_ref().and_then(|page| page.as_ref().ok());
        Self {
            metrics: worker.url.clone(),
            reachable: page.is_some(),
            version: page.map(|page| page.version.clone()),
        }
    }
}

impl PartitionRow {
    fn new(
        partition: u16,
        replicas: &Replicas<'_>,
        active: Option<Active>,
        heartbeats: Option<f64>,
    ) -> Self {
        let row = |(worker, it): &(usize, &ReplicaMetrics)| ReplicaRow {
            worker: *worker,
            ready: it.ready,
            lag_ms: it.lag_ms,
            offset: it.offset,
            leads: it.leads,
        };
        Self {
            partition,
            streams: active.map(|it| it.streams),
            accounts: active.map(|it| it.accounts),
            heartbeats_per_second: heartbeats.map(tenths),
            lag_ms: replicas.iter().filter_map(|(_, it)| it.lag_ms).min(),
            ready: replicas.iter().filter(|(_, it)| it.ready).count(),
            leaders: replicas.iter().filter(|(_, it)| it.leads).count(),
            replicas: replicas.iter().map(row).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
