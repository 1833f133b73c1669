//! Reached limits, which the leader repeats because the log does not keep their first entry.

use std::collections::BTreeMap;

use streamwatch::domain::{CapacityChange, Settings, Tenant};

use crate::world::World;

/// Intervals after which reached limits have been repeated: 60, and some until the repetition is
/// read back.
const SAID_AGAIN: u64 = 80;
/// Intervals after which a leader has retried often enough.
const LEADS_LONG: u64 = 20;

/// Full tenants, or the full partition, and the log time of the latest entry about it.
#[derive(Default)]
pub struct Full(BTreeMap<Option<Tenant>, u64>);

impl Full {
    pub fn note(&mut self, change: &CapacityChange, log_ms: u64) {
        if change.full {
            self.0.insert(change.tenant.clone(), log_ms);
        } else {
            self.0.remove(&change.tenant);
        }
    }
}

impl World {
    /// Checks that a long-standing leader with this state has repeated it.
    pub fn check_full(&mut self, w: usize) {
        let intervals = |n| n * Settings::interval_for(self.widest_ttl_ms);
        let worker = &mut self.workers[w];
        let since = worker.leads_since.unwrap_or(self.now);
        worker.leads_since = worker.replica.leads().then_some(since);
        let leads_long = worker.leads_since.is_some() && since + intervals(LEADS_LONG) <= self.now;
        let knows = worker.history.is_whole() && worker.diverged.is_none();
        let (true, true, Some((_, steady)), Some(log_ms)) =
            (leads_long, knows, worker.steady, self.observer.log_ms())
        else {
            return;
        };
        // A replica restored from a snapshot uses the snapshot's time as that of the entry.
        let again = intervals(SAID_AGAIN);
        if steady + again > log_ms {
            return;
        }
        for (tenant, stated) in &self.observer.full.0 {
            self.counted.said_full += 1;
            assert!(
                stated + again > log_ms,
                "{tenant:?} is full since {stated}, and at {log_ms} it was not repeated"
            );
        }
    }
}
