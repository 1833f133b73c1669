//! Reports the figures of a partition's replica: at each tick, and when it has caught up.

use std::sync::Arc;

use super::pending::PendingRequest;
use crate::{
    ops::{
        Active, Figures, MAX_VALUES_SHOWN, PartitionFigures, PartitionMetrics, ReplicaContents,
        TenantValues, Tenants,
    },
    replica::{Mono, Replica, StreamCounts},
};

/// One partition's part of the figures.
pub(super) struct MetricsReporter {
    partition: u16,
    figures: Arc<Figures>,
    tenants: Tenants,
}

impl MetricsReporter {
    pub(super) fn new(partition: u16, figures: Arc<Figures>) -> Self {
        Self {
            partition,
            figures,
            tenants: Tenants::default(),
        }
    }

    /// Reports the replica's current state.
    pub(super) fn report(
        &mut self,
        replica: &Replica<PendingRequest>,
        metrics: &PartitionMetrics,
        now: Mono,
    ) {
        metrics
            .announcements_lost
            .absolute(replica.announcements_lost());
        let unannounced = u64::try_from(replica.unannounced()).unwrap_or(u64::MAX);
        metrics.unannounced.set(as_f64(unannounced));
        let now_ms = now.0 / 1_000;
        let figures = PartitionFigures {
            // Absent until the replica has caught up: replicas have equal counters only after the
            // same entries.
            counters: replica.has_caught_up().then(|| *replica.counters()),
            held: replica.is_live(now).then(|| self.held(replica, now_ms)),
            offset: replica.applied(),
            ttl_ms: replica.settings().map(|settings| settings.ttl_ms),
            fresh_at_ms: replica.lag_ms(now).map(|ms| now_ms.saturating_sub(ms)),
            reported_at_ms: now_ms,
        };
        self.figures.set(self.partition, figures);
    }

    fn held(&mut self, replica: &Replica<PendingRequest>, now_ms: u64) -> ReplicaContents {
        let active = active(replica.totals());
        let all = || {
            let tenants = replica.totals_by_tenant();
            tenants.map(|(name, totals)| (name, self::active(totals)))
        };
        let of = |name: &str| self::active(replica.totals_of(name));
        let (tenants, others) = self.tenants.split(now_ms, active, all, of);
        let mut held = ReplicaContents {
            active,
            records: replica.totals().records,
            levels: replica.levels().0.into(),
            tenants,
            others,
            values: Vec::new(),
        };
        let keys = replica.counted_keys();
        let values = held.largest_tenants().into_iter().flat_map(|tenant| {
            keys.iter().map(|key| {
                let mut counts = replica.values_of(tenant, key);
                counts.keep(MAX_VALUES_SHOWN);
                TenantValues {
                    tenant: tenant.to_owned(),
                    key: key.clone(),
                    counts,
                }
            })
        });
        held.values = values.collect();
        held
    }

    /// Reports that the log is unavailable.
    pub(super) fn detached(&self) {
        self.figures.detached(self.partition);
    }

    /// Reports that the replica has discarded its state.
    pub(super) fn forget(&self) {
        self.figures.forget(self.partition);
    }
}

const fn active(totals: StreamCounts) -> Active {
    Active {
        streams: totals.streams,
        accounts: totals.accounts,
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
pub(super) const fn as_f64(n: u64) -> f64 {
    n as f64
}
