//! Aggregation of several workers' figures. Replicas of a partition have equal figures, which are
//! not added up; those of partitions are.

use std::{array, cmp::Reverse, collections::BTreeMap};

use super::{
    rows::{InstallationTotals, PartitionRow, PerSecond, TenantRow, ValueRow},
    state::State,
    worker_metrics::{Active, Contents, Counter, Counts, ReplicaMetrics},
};

/// Most listed tenants.
const MOST_TENANTS: usize = 20;
/// Most listed values of metadata keys.
const MOST_VALUES: usize = 20;

/// The replicas of one partition, each with the index of its worker.
pub(super) type Replicas<'a> = Vec<(usize, &'a ReplicaMetrics)>;

/// The rate of a log, which is the highest of its replicas, as all count the same entries.
pub(super) fn fastest(
    state: &State,
    partition: u16,
    replicas: &Replicas<'_>,
) -> Option<Counts<f64>> {
    let rates = replicas
        .iter()
        .filter_map(|(n, _)| state.workers.get(*n)?.readings.log(partition));
    rates.reduce(|a, b| array::from_fn(|n| a[n].max(b[n])))
}

/// Sums over partitions of gauges.
pub(super) fn totals(
    all: &Contents,
    partitions: &[PartitionRow],
    ttl_ms: Option<u64>,
) -> InstallationTotals {
    InstallationTotals {
        streams: all.active.map(|it| it.streams),
        accounts: all.active.map(|it| it.accounts),
        records: all.active.map(|_| all.records),
        partitions_missing: partitions.iter().filter(|it| it.streams.is_none()).count(),
        ttl_ms,
        accounts_by_streams: all.levels.clone(),
    }
}

/// Sums over partitions of the log's counters, and over workers of their own.
pub(super) fn per_second(
    rates: &BTreeMap<u16, Counts<f64>>,
    workers: impl Iterator<Item = Counts<f64>>,
) -> PerSecond {
    let log = sum(rates.values().copied());
    let workers = sum(workers);
    PerSecond(Counter::ALL.map(|counter| {
        let log = log.map(|rates| tenths(rates[counter as usize]));
        let worker = workers.map(|rates| rates[counter as usize]);
        match counter {
            Counter::InitAnswered | Counter::StatusAnswered => worker.map(tenths),
            Counter::BadInput => log.zip(worker).map(|(log, worker)| tenths(log + worker)),
            _ => log,
        }
    }))
}

fn sum(rates: impl Iterator<Item = Counts<f64>>) -> Option<Counts<f64>> {
    rates.reduce(|a, b| array::from_fn(|n| a[n] + b[n]))
}

/// A rate with one decimal.
pub(super) fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

/// The tenants with the most streams.
pub(super) fn tenants(all: &Contents) -> Vec<TenantRow> {
    let playing = all.tenants.iter().filter(|(_, active)| active.streams > 0);
    let mut rows: Vec<_> = playing
        .map(|(tenant, Active { streams, accounts })| TenantRow {
            tenant: tenant.clone(),
            streams: *streams,
            accounts: *accounts,
        })
        .collect();
    rows.sort_by_key(|row| Reverse(row.streams));
    rows.truncate(MOST_TENANTS);
    rows
}

/// The values of metadata keys with the most streams.
pub(super) fn values(all: &Contents) -> Vec<ValueRow> {
    let playing = all.values.iter().filter(|(_, streams)| **streams > 0);
    let mut rows: Vec<_> = playing
        .map(|((tenant, key, value), streams)| ValueRow {
            tenant: tenant.clone(),
            key: key.clone(),
            value: value.clone(),
            streams: *streams,
        })
        .collect();
    rows.sort_by_key(|row| Reverse(row.streams));
    rows.truncate(MOST_VALUES);
    rows
}
