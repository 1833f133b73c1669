//! Aggregation of several workers' figures. Replicas of a partition have equal figures, which are
//! not added up; those of partitions are.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    rows::{InstallationTotals, PerSecond, TenantRow, ValueRow},
    state::State,
    worker_metrics::{Active, LogCounter, ReplicaMetrics, WorkerCounter},
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
) -> Option<[f64; LogCounter::COUNT]> {
    let rates = replicas
        .iter()
        .filter_map(|(n, _)| state.workers.get(*n)?.readings.log(partition));
    rates.reduce(|mut a, b| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max(b));
        a
    })
}

/// Sums over partitions of gauges.
pub(super) fn totals(by_partition: &BTreeMap<u16, Replicas<'_>>) -> InstallationTotals {
    let mut totals = InstallationTotals::default();
    for replicas in by_partition.values() {
        let fresh = replicas
            .iter()
            .filter_map(|(_, it)| Some((it.active?, *it)));
        let Some((active, records)) = fresh
            .map(|(active, it)| (active, it.records))
            .reduce(|(a, m), (b, n)| (a.max(b), m.max(n)))
        else {
            totals.partitions_missing += 1;
            continue;
        };
        *totals.streams.get_or_insert_default() += active.streams;
        *totals.accounts.get_or_insert_default() += active.accounts;
        *totals.records.get_or_insert_default() += records;
        let mut levels = BTreeMap::<&str, u64>::new();
        for (level, accounts) in replicas.iter().flat_map(|(_, it)| &it.levels) {
            let known = levels.entry(level).or_default();
            *known = (*known).max(*accounts);
        }
        for (level, accounts) in levels {
            let total = totals.accounts_by_streams.entry(level.to_owned());
            *total.or_default() += accounts;
        }
    }
    let ttls = by_partition.values().flatten();
    totals.ttl_ms = ttls.filter_map(|(_, it)| it.ttl_ms).max();
    totals
}

/// Sums over partitions of the log's counters, and over workers of their own.
pub(super) fn per_second(
    rates: &BTreeMap<u16, [f64; LogCounter::COUNT]>,
    workers: impl Iterator<Item = [f64; WorkerCounter::COUNT]>,
) -> PerSecond {
    let add = |mut a: Vec<f64>, b: &[f64]| {
        a.resize(b.len(), 0.0);
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    let sums = rates.values().fold(Vec::new(), |sum, it| add(sum, it));
    let workers = workers.fold(Vec::new(), |sum, it| add(sum, &it));
    let log = |what: LogCounter| sums.get(what as usize).copied().map(tenths);
    let worker = |what: WorkerCounter| workers.get(what as usize).copied();
    let bad = log(LogCounter::Bad).zip(worker(WorkerCounter::Bad));
    PerSecond {
        heartbeats: log(LogCounter::Heartbeats),
        opened: log(LogCounter::Opened),
        refused: log(LogCounter::Refused),
        stopped: log(LogCounter::Stopped),
        replaced: log(LogCounter::Replaced),
        expired: log(LogCounter::Expired),
        init_answered: worker(WorkerCounter::InitAnswered).map(tenths),
        status_answered: worker(WorkerCounter::StatusAnswered).map(tenths),
        bad_input: bad.map(|(log, worker)| tenths(log + worker)),
    }
}

/// A rate with one decimal.
pub(super) fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

/// The tenants with the most streams.
pub(super) fn tenants(by_partition: &BTreeMap<u16, Replicas<'_>>) -> Vec<TenantRow> {
    let mut sums = BTreeMap::<&str, Active>::new();
    for replicas in by_partition.values() {
        let mut of_partition = BTreeMap::<&str, Active>::new();
        for (tenant, active) in replicas.iter().flat_map(|(_, it)| &it.tenants) {
            let known = of_partition.entry(tenant).or_default();
            *known = known.max(*active);
        }
        for (tenant, active) in of_partition {
            let sum = sums.entry(tenant).or_default();
            sum.streams += active.streams;
            sum.accounts += active.accounts;
        }
    }
    let playing = sums.into_iter().filter(|(_, active)| active.streams > 0);
    let mut rows: Vec<_> = playing
        .map(|(tenant, Active { streams, accounts })| TenantRow {
            tenant: tenant.to_owned(),
            streams,
            accounts,
        })
        .collect();
    rows.sort_by_key(|row| Reverse(row.streams));
    rows.truncate(MOST_TENANTS);
    rows
}

/// The values of metadata keys with the most streams.
pub(super) fn values(by_partition: &BTreeMap<u16, Replicas<'_>>) -> Vec<ValueRow> {
    let mut sums = BTreeMap::new();
    for replicas in by_partition.values() {
        let mut of_partition = BTreeMap::new();
        for (of, streams) in replicas.iter().flat_map(|(_, it)| &it.values) {
            let known: &mut u64 = of_partition.entry(of).or_default();
            *known = (*known).max(*streams);
        }
        for (of, streams) in of_partition {
            *sums.entry(of).or_insert(0) += streams;
        }
    }
    let playing = sums.into_iter().filter(|(_, streams)| *streams > 0);
    let mut rows: Vec<_> = playing
        .map(|((tenant, key, value), streams)| ValueRow {
            tenant: tenant.clone(),
            key: key.clone(),
            value: value.clone(),
            streams,
        })
        .collect();
    rows.sort_by_key(|row| Reverse(row.streams));
    rows.truncate(MOST_VALUES);
    rows
}
