//! Soft limits of the partition and its tenants. The leader compares its counts with the limits,
//! and appends an entry when a limit is reached, or no longer reached. Replicas refuse new streams
//! by these entries alone.

use std::collections::{BTreeSet, HashMap, HashSet};

use compact_str::CompactString;

use crate::domain::{CapacityChange, LogTime, Settings, Tenant};

/// Intervals of log time after which the leader appends the entry for a reached limit again, since
/// retention deletes the earlier one. The log keeps at least 200 intervals.
const REPEAT_INTERVALS: u64 = 60;
/// Maximum number of changes of tenants appended in one interval.
const MAX_CHANGES: usize = 1_000;
/// Maximum number of repetitions appended in one interval.
const MAX_REPEATED: usize = 200;

/// The partition's and tenants' reached limits, as of the last applied entry.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    full: bool,
    /// Log time of the latest entry with this state.
    recorded_at: LogTime,
    tenants: HashMap<Tenant, LogTime>,
    /// The full tenants ordered by that time.
    by_time: BTreeSet<(LogTime, Tenant)>,
    /// For a truncated log without a snapshot: until this time, no stream is refused, since any
    /// stream may have started before the log's first entry.
    learns_until: LogTime,
    /// Tenants to compare with their limit at the next tick.
    watched: HashSet<CompactString>,
    /// The limit that all tenants were compared with; `None` while this replica does not lead.
    compared: Option<u64>,
}

impl Capacity {
    /// Restores the state from a snapshot, as of `now`.
    pub(super) fn restored(full: bool, tenants: Vec<Tenant>, now: LogTime) -> Self {
        Self {
            full,
            recorded_at: now,
            by_time: tenants.iter().map(|t| (now, t.clone())).collect(),
            tenants: tenants.into_iter().map(|t| (t, now)).collect(),
            ..Self::default()
        }
    }

    /// Whether new streams of the tenant are refused at `now`.
    pub(super) fn is_full(&self, tenant: &str, now: LogTime) -> bool {
        let full = self.full || (!self.tenants.is_empty() && self.tenants.contains_key(tenant));
        full && now >= self.learns_until
    }

    /// Starts at `now` with a truncated log, whose earlier entries are not known.
    pub(super) fn learn_from(&mut self, now: LogTime, settings: &Settings) {
        self.learns_until = now.plus(settings.ttl_ms + 2 * settings.interval_ms());
    }

    /// Whether earlier streams may be missing.
    pub(super) fn is_learning(&self, now: LogTime) -> bool {
        now < self.learns_until
    }

    pub(super) const fn partition_is_full(&self) -> bool {
        self.full
    }

    pub(super) fn full_tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.keys()
    }

    /// Applies an entry at log time `now`.
    pub(super) fn set(&mut self, change: &CapacityChange, now: LogTime) {
        let Some(tenant) = &change.tenant else {
            self.full = change.full;
            self.recorded_at = now;
            return;
        };
        if let Some(recorded_at) = self.tenants.remove(tenant) {
            self.by_time.remove(&(recorded_at, tenant.clone()));
        }
        if change.full {
            self.tenants.insert(tenant.clone(), now);
            self.by_time.insert((now, tenant.clone()));
        }
    }

    /// Ends the comparison of tenants with their limit: this replica does not lead.
    pub(super) const fn unwatch(&mut self) {
        self.compared = None;
    }

    /// Lets the next [`Self::due`] compare the `changed` tenants with `limit`; all `counted` ones
    /// if the limit changed.
    pub(super) fn watch(
        &mut self,
        limit: u64,
        changed: HashSet<CompactString>,
        counted: impl Iterator<Item = CompactString>,
    ) {
        if self.compared.replace(limit) == Some(limit) {
            self.watched.extend(changed);
        } else {
            let full = self.tenants.keys().map(|t| t.as_str().into());
            self.watched = full.chain(counted).collect();
        }
    }

    /// Returns the limits that are newly reached or no longer reached, and those to be repeated. A
    /// change is returned at each tick until its entry has been read back.
    pub(super) fn due(
        &mut self,
        settings: &Settings,
        now: LogTime,
        records: u64,
        of_tenant: impl Fn(&str) -> u64,
    ) -> Vec<CapacityChange> {
        let repeat_ms = REPEAT_INTERVALS * settings.interval_ms();
        let again = self.full && now.since(self.recorded_at) >= repeat_ms;
        let crossed = crossing(records, settings.max_streams_per_partition, self.full);
        let mut changes: Vec<_> = crossed
            .or(again.then_some(true))
            .map(|full| CapacityChange { tenant: None, full })
            .into_iter()
            .collect();
        let (limit, tenants) = (settings.max_streams_per_tenant, &self.tenants);
        let mut left = MAX_CHANGES;
        self.watched.retain(|name| {
            let Some(full) = crossing(of_tenant(name), limit, tenants.contains_key(name.as_str()))
            else {
                return false;
            };
            if left > 0
                && let Ok(tenant) = Tenant::new(name)
            {
                left -= 1;
                let tenant = Some(tenant);
                changes.push(CapacityChange { tenant, full });
            }
            true
        });
        let old = |(recorded_at, _): &&(LogTime, Tenant)| now.since(*recorded_at) >= repeat_ms;
        let repeated = self.by_time.iter().take_while(old).take(MAX_REPEATED);
        let watched = &self.watched;
        changes.extend(
            repeated
                .filter(|(_, tenant)| !watched.contains(tenant.as_str()))
                .map(|(_, tenant)| CapacityChange {
                    tenant: Some(tenant.clone()),
                    full: true,
                }),
        );
        changes
    }
}

/// Returns the new state if it changes: full at the limit, and no longer full a twentieth below it,
/// so that a single account does not cause many entries.
const fn crossing(records: u64, limit: u64, full: bool) -> Option<bool> {
    match full {
        false if records >= limit => Some(true),
        true if records < limit - limit / 20 => Some(false),
        _ => None,
    }
}
