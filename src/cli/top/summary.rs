//! The figures at one moment, for the screen, for plain lines, and as JSON.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{
    accounts::EventCounts,
    aggregate::{Replicas, fastest, per_second, tenants, tenths, totals},
    state::{Lifecycle, ListedEvent, MOST_SHOWN, State, Worker},
    worker_metrics::{Active, OfLog, Replica, WorkerMetrics},
};
use crate::{
    client::AccountStatus,
    domain::{Answer, WallTime},
    wire::{self, Rfc3339},
};

/// All figures; `None` if absent.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) at: Rfc3339,
    pub(super) interval_ms: u64,
    pub(super) totals: Totals,
    pub(super) per_second: PerSecond,
    pub(super) workers: Vec<WorkerRow>,
    pub(super) partitions: Vec<PartitionRow>,
    /// The tenants with the most streams.
    pub(super) tenants: Vec<TenantRow>,
    pub(super) lifecycle: LifecycleRow,
    pub(super) accounts: AccountRows,
    /// The opened account.
    pub(super) account: Option<OpenedRow>,
    /// Missing figures, each with a remedy.
    pub(super) problems: Vec<String>,
    #[serde(skip)]
    #[serde(rename = "facts")]
    pub(super) events: Vec<ListedEvent>,
}

/// Sums over partitions.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    pub(super) streams: Option<u64>,
    pub(super) accounts: Option<u64>,
    pub(super) records: Option<u64>,
    /// Partitions without fresh figures, which the sums exclude.
    pub(super) partitions_missing: usize,
    pub(super) ttl_ms: Option<u64>,
    pub(super) accounts_by_streams: BTreeMap<String, u64>,
}

/// Rates of the last ten seconds.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct PerSecond {
    pub(super) heartbeats: Option<f64>,
    pub(super) opened: Option<f64>,
    pub(super) refused: Option<f64>,
    pub(super) stopped: Option<f64>,
    pub(super) replaced: Option<f64>,
    pub(super) expired: Option<f64>,
    pub(super) init_answered: Option<f64>,
    pub(super) status_answered: Option<f64>,
    pub(super) bad_input: Option<f64>,
}

/// One worker.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct WorkerRow {
    pub(super) metrics: String,
    pub(super) answers: bool,
    pub(super) version: Option<String>,
}

/// One partition.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct PartitionRow {
    pub(super) partition: u16,
    pub(super) streams: Option<u64>,
    pub(super) accounts: Option<u64>,
    pub(super) heartbeats_per_second: Option<f64>,
    /// The lag of the freshest replica.
    pub(super) lag_ms: Option<u64>,
    pub(super) ready: usize,
    pub(super) leaders: usize,
    pub(super) replicas: Vec<ReplicaRow>,
}

/// One worker's replica of a partition.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ReplicaRow {
    /// The index of its worker.
    pub(super) worker: usize,
    pub(super) ready: bool,
    pub(super) lag_ms: Option<u64>,
    pub(super) offset: Option<u64>,
    pub(super) leads: bool,
}

/// One tenant.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct TenantRow {
    pub(super) tenant: String,
    pub(super) streams: u64,
    pub(super) accounts: u64,
}

/// Lifecycle events since the subscription.
#[derive(Debug, Serialize)]
pub(super) struct LifecycleRow {
    pub(super) listening: bool,
    pub(super) since: Option<Rfc3339>,
    #[serde(flatten)]
    #[serde(rename = "told")]
    pub(super) counts: EventCounts,
}

/// The accounts in lifecycle events.
#[derive(Debug, Serialize)]
pub(super) struct AccountRows {
    pub(super) since: Option<Rfc3339>,
    pub(super) known: usize,
    pub(super) forgotten: u64,
    pub(super) most: Vec<AccountRow>,
}

/// One account.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct AccountRow {
    pub(super) tenant: String,
    pub(super) account: String,
    pub(super) streams: u32,
    /// True if no event can have been missed since.
    pub(super) sure: bool,
}

/// The opened account.
#[derive(Debug, Serialize)]
pub(super) struct OpenedRow {
    pub(super) tenant: String,
    pub(super) account: String,
    pub(super) error: Option<String>,
    #[serde(rename = "activity", serialize_with = "in_the_contracts_format")]
    pub(super) status: Option<AccountStatus>,
}

/// The activity, as in replies.
fn in_the_contracts_format<S: Serializer>(
    status: &Option<AccountStatus>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let activity = status.as_ref().and_then(|status| {
        let group_by: Vec<_> = status.by.keys().cloned().collect();
        let answer = Answer::Status {
            activity: status.activity.clone(),
            stream: None,
        };
        let mut reply: Value =
            serde_json::from_slice(&wire::answer(&answer, &group_by).body).ok()?;
        Some(reply.get_mut("activity")?.take())
    });
    activity.serialize(to)
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
                by_partition
                    .entry(*partition)
                    .or_default()
                    .push((n, replica));
            }
        }
        let of_log = by_partition.iter().filter_map(|(partition, replicas)| {
            Some((*partition, fastest(state, *partition, replicas)?))
        });
        let of_log: BTreeMap<_, _> = of_log.collect();
        let of_workers = pages().filter_map(|(_, worker, _)| worker.readings.of_worker());
        Self {
            kind: "top",
            at: Rfc3339(now),
            interval_ms,
            totals: totals(&by_partition),
            per_second: per_second(&of_log, of_workers),
            workers: state.workers.iter().map(WorkerRow::new).collect(),
            partitions: by_partition
                .iter()
                .map(|(p, replicas)| {
                    let rates = of_log.get(p);
                    PartitionRow::new(*p, replicas, rates.map(|r| r[OfLog::Heartbeats as usize]))
                })
                .collect(),
            tenants: tenants(&by_partition),
            lifecycle: LifecycleRow {
                listening: matches!(state.lifecycle, Lifecycle::Listening),
                since: state.accounts.since(),
                counts: state.accounts.counts,
            },
            accounts: account_rows(state),
            account: state.opened.as_ref().map(|opened| OpenedRow {
                tenant: opened.key.tenant().to_owned(),
                account: opened.key.account().to_owned(),
                error: opened.error.clone(),
                status: opened.status.clone(),
            }),
            problems: problems(state),
            events: state.events.iter().cloned().collect(),
        }
    }

    /// Number of workers that respond.
    pub(super) fn answering(&self) -> usize {
        self.workers.iter().filter(|worker| worker.answers).count()
    }

    /// The largest lag of a partition.
    pub(super) fn worst_lag_ms(&self) -> Option<u64> {
        self.partitions.iter().filter_map(|it| it.lag_ms).max()
    }
}

fn account_rows(state: &State) -> AccountRows {
    let accounts = &state.accounts;
    let most = accounts.most(MOST_SHOWN).into_iter();
    AccountRows {
        since: accounts.since(),
        known: accounts.len(),
        forgotten: accounts.forgotten,
        most: most
            .map(|it| AccountRow {
                tenant: it.key.tenant().to_owned(),
                account: it.key.account().to_owned(),
                streams: it.count,
                sure: it.sure,
            })
            .collect(),
    }
}

fn problems(state: &State) -> Vec<String> {
    let of_workers = state.workers.iter();
    let of_workers = of_workers.filter_map(|it| it.page.as_ref()?.as_ref().err().cloned());
    let of_lifecycle = match &state.lifecycle {
        Lifecycle::NotAsked => Some("no accounts and no events: AMQP_URL is not set".to_owned()),
        Lifecycle::Lost(error) => Some(format!("{error}; trying again")),
        Lifecycle::Connecting | Lifecycle::Listening => None,
    };
    let opened = state.opened.iter();
    let of_account =
        opened.filter_map(|it| Some(format!("{}: {}", it.key.as_str(), it.error.as_ref()?)));
    of_lifecycle
        .into_iter()
        .chain(of_workers)
        .chain(of_account)
        .collect()
}

impl WorkerRow {
    fn new(worker: &Worker) -> Self {
        let page: Option<&WorkerMetrics> = worker.page.as_ref().and_then(|page| page.as_ref().ok());
        Self {
            metrics: worker.url.clone(),
            answers: page.is_some(),
            version: page.map(|page| page.version.clone()),
        }
    }
}

impl PartitionRow {
    fn new(partition: u16, replicas: &Replicas<'_>, heartbeats: Option<f64>) -> Self {
        let fresh = replicas.iter().filter_map(|(_, it)| it.active);
        let active = fresh.reduce(Active::max);
        let row = |(worker, it): &(usize, &Replica)| ReplicaRow {
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
