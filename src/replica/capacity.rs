//! Soft limits: which tenants are full, or the whole partition. The leader appends changes by its
//! counts; replicas judge by the entries alone.

use std::collections::{BTreeSet, HashMap, HashSet};

use compact_str::CompactString;

use super::{Now, Replica};
use crate::domain::{CapacityChange, Internal, LogTime, Settings, Tenant};

/// Intervals of log time after which the leader repeats which limits are reached. The log keeps at
/// least 200 intervals, so the first entry disappears.
const REPEAT_INTERVALS: u64 = 60;
/// Most changes of tenants appended in one interval, and most repetitions.
const MOST_CHANGES: usize = 1_000;
const MOST_REPEATED: usize = 200;

/// The partition's and tenants' reached limits, as of the last applied entry.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    full: bool,
    /// Log time of the latest entry with this state.
    said: LogTime,
    tenants: HashMap<Tenant, LogTime>,
    /// The full tenants ordered by that time.
    by_time: BTreeSet<(LogTime, Tenant)>,
    /// For a truncated log without a snapshot: until this time, any stream may be an earlier one,
    /// so none is refused.
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
            said: now,
            by_time: tenants.iter().map(|t| (now, t.clone())).collect(),
            tenants: tenants.into_iter().map(|t| (t, now)).collect(),
            ..Self::default()
        }
    }

    /// Takes the tenant no new stream at `now`?
    pub(super) fn is_full(&self, tenant: &str, now: LogTime) -> bool {
        let full = self.full || (!self.tenants.is_empty() && self.tenants.contains_key(tenant));
        full && now >= self.learns_until
    }

    /// The log is read from `now` on, and what came before is not known.
    pub(super) const fn learn_from(&mut self, now: LogTime, settings: &Settings) {
        self.learns_until = now.plus(settings.ttl_ms + 2 * settings.interval_ms());
    }

    /// The streams that were there before may not all be known.
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
            self.said = now;
            return;
        };
        if let Some(said) = self.tenants.remove(tenant) {
            self.by_time.remove(&(said, tenant.clone()));
        }
        if change.full {
            self.tenants.insert(tenant.clone(), now);
            self.by_time.insert((now, tenant.clone()));
        }
    }

    /// Returns changes by the counts, and repetitions. An entry is due at each tick until it has
    /// been read back.
    pub(super) fn due(
        &mut self,
        settings: &Settings,
        now: LogTime,
        records: u64,
        of_tenant: impl Fn(&str) -> u64,
    ) -> Vec<CapacityChange> {
        let repeat_ms = REPEAT_INTERVALS * settings.interval_ms();
        let again = self.full && now.since(self.said) >= repeat_ms;
        let turned = turn(records, settings.max_streams_per_partition, self.full);
        let mut changes: Vec<_> = turned
            .or(again.then_some(true))
            .map(|full| CapacityChange { tenant: None, full })
            .into_iter()
            .collect();
        let (limit, tenants) = (settings.max_streams_per_tenant, &self.tenants);
        let mut left = MOST_CHANGES;
        self.watched.retain(|name| {
            let Some(full) = turn(of_tenant(name), limit, tenants.contains_key(name.as_str()))
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
        let old = |(said, _): &&(LogTime, Tenant)| now.since(*said) >= repeat_ms;
        let repeated = self.by_time.iter().take_while(old).take(MOST_REPEATED);
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

/// Full at the limit, and free again a twentieth below it: an account that comes and goes does not
/// write.
const fn turn(records: u64, limit: u64, full: bool) -> Option<bool> {
    match full {
        false if records >= limit => Some(true),
        true if records < limit - limit / 20 => Some(false),
        _ => None,
    }
}

impl<T> Replica<T> {
    /// Appends what the soft limits ask for, if this replica leads.
    pub(super) fn watch_capacity(&mut self, now: Now) {
        let changed = self.accounts.take_changed();
        let (true, Some(settings), Some(log)) = (self.leads(), &self.settings, self.clock.now())
        else {
            self.capacity.compared = None;
            return;
        };
        let capacity = &mut self.capacity;
        let limit = Some(settings.max_streams_per_tenant);
        if std::mem::replace(&mut capacity.compared, limit) == limit {
            capacity.watched.extend(changed);
        } else {
            let full = capacity.tenants.keys().map(|t| t.as_str().into());
            let counted = self.accounts.by_tenant().map(|(name, _)| name.into());
            capacity.watched = full.chain(counted).collect();
        }
        let records = self.accounts.totals().records;
        let of_tenant = |name: &str| self.accounts.of_tenant(name).records;
        for change in capacity.due(settings, log, records, of_tenant) {
            self.append(now, Internal::Capacity(change));
        }
    }
}
