//! The rows of a summary.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{
    accounts::EventCounts,
    worker_metrics::{Counter, Counts},
};
use crate::{
    client::AccountStatus,
    domain::{AccountKey, Answer},
    wire::{self, Rfc3339},
};

/// Sums over partitions.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct InstallationTotals {
    pub(super) streams: Option<u64>,
    pub(super) accounts: Option<u64>,
    pub(super) records: Option<u64>,
    /// Partitions without fresh figures, which the sums exclude.
    pub(super) partitions_missing: usize,
    pub(super) ttl_ms: Option<u64>,
    pub(super) accounts_by_streams: BTreeMap<String, u64>,
}

/// Rates of the last ten seconds.
#[derive(Debug, PartialEq)]
pub(super) struct PerSecond(pub(super) Counts<Option<f64>>);

impl Serialize for PerSecond {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(Counter::ALL.iter().zip(self.0))
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct WorkerRow {
    pub(super) metrics: String,
    pub(super) reachable: bool,
    pub(super) version: Option<String>,
}

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

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct TenantRow {
    pub(super) tenant: String,
    pub(super) streams: u64,
    pub(super) accounts: u64,
}

/// Streams of a tenant with one value of a metadata key.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ValueRow {
    pub(super) tenant: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) streams: u64,
}

/// Lifecycle events since the subscription.
#[derive(Debug, Serialize)]
pub(super) struct LifecycleRow {
    pub(super) subscribed: bool,
    pub(super) since: Option<Rfc3339>,
    #[serde(flatten)]
    pub(super) counts: EventCounts,
}

/// The accounts in lifecycle events.
#[derive(Debug, Serialize)]
pub(super) struct AccountRows {
    pub(super) since: Option<Rfc3339>,
    /// Whether workers have listed accounts, so that those without an event are known too.
    pub(super) listed: bool,
    pub(super) known: usize,
    pub(super) evicted: u64,
    pub(super) largest: Vec<AccountRow>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct AccountRow {
    #[serde(flatten, serialize_with = "as_fields")]
    pub(super) key: AccountKey,
    pub(super) streams: u32,
    /// True if no event can have been missed since.
    pub(super) exact: bool,
}

/// The opened account, which is shown in detail.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OpenedAccount {
    #[serde(flatten, serialize_with = "as_fields")]
    pub(super) key: AccountKey,
    /// The error of the last request.
    pub(super) error: Option<String>,
    #[serde(rename = "activity", serialize_with = "in_the_contracts_format")]
    pub(super) status: Option<AccountStatus>,
}

/// The tenant and the account.
fn as_fields<S: Serializer>(key: &AccountKey, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map([("tenant", key.tenant()), ("account", key.account())])
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
            serde_json::from_slice(&wire::answer(&answer, &group_by, None).body).ok()?;
        Some(reply.get_mut("activity")?.take())
    });
    activity.serialize(to)
}
