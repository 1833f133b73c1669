//! The latest figures of a worker's replicas: updated at each tick, read at each scrape.
//!
//! They come from a replica's state, so they are equal on every replica of a partition and are
//! absent without one.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::{Counters, ValueCounts};

/// Most tenants with series of their own, per partition.
pub const MAX_TENANTS: usize = 50;
/// Most tenants with series by values of metadata, per partition.
pub const MAX_TENANTS_BY_VALUE: usize = 10;
/// Most values of a metadata key with series of their own, per tenant and partition.
pub const MAX_VALUES_SHOWN: usize = 20;
/// Interval at which the tenants with the most streams are chosen, in milliseconds.
pub const CHOOSE_EVERY_MS: u64 = 15_000;

/// Number of active streams, and of accounts with an active stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// Active streams.
    pub streams: u64,
    /// Accounts with at least one active stream.
    pub accounts: u64,
}

/// Contents of a fresh replica as of its last applied entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaContents {
    /// Active streams and accounts of the whole partition.
    pub active: Active,
    /// Records of streams, active or not.
    pub records: u64,
    /// Accounts with one, two and so on active streams; the last element counts all with more.
    pub levels: Vec<u64>,
    /// The tenants with series of their own.
    pub tenants: Vec<(String, Active)>,
    /// The sum of all other tenants.
    pub others: Active,
    /// Streams of the largest of these tenants by the values of metadata keys.
    pub values: Vec<TenantValues>,
}

/// Streams of a tenant by the values of one metadata key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantValues {
    /// The tenant.
    pub tenant: String,
    /// The key.
    pub key: String,
    /// The counts.
    pub counts: ValueCounts,
}

impl ReplicaContents {
    /// The tenants with series by values: those with the most streams.
    pub fn largest_tenants(&self) -> Vec<&str> {
        let mut tenants: Vec<_> = self.tenants.iter().collect();
        // The sort is stable: ties stay in the order of the names.
        tenants.sort_by_key(|(_, active)| std::cmp::Reverse(active.streams));
        let largest = tenants.into_iter().take(MAX_TENANTS_BY_VALUE);
        largest.map(|(name, _)| name.as_str()).collect()
    }
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionFigures {
    /// Counters of its log. `None` until the replica has caught up.
    pub counters: Option<Counters>,
    /// `None` if the replica is not fresh.
    pub held: Option<ReplicaContents>,
    /// The last entry that was applied.
    pub offset: Option<u64>,
    /// The TTL in force, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// Time at which the last marker that was read back was appended, in milliseconds of a
    /// monotonic clock.
    pub fresh_at_ms: Option<u64>,
    /// Time of this report, by the same clock.
    pub reported_at_ms: u64,
}

/// The partitions of a worker.
#[derive(Debug, Default)]
pub struct Figures(Mutex<BTreeMap<u16, PartitionFigures>>);

impl Figures {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u16, PartitionFigures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the figures of a partition's replica.
    pub fn set(&self, partition: u16, figures: PartitionFigures) {
        let mut all = self.all();
        let known = all.entry(partition).or_default();
        // The age keeps growing while the log is unavailable.
        let fresh_at_ms = figures.fresh_at_ms.or(known.fresh_at_ms);
        let counters = figures.counters.or(known.counters);
        *known = PartitionFigures {
            fresh_at_ms,
            counters,
            ..figures
        };
    }

    /// Marks the partition as not fresh, because its log is unavailable.
    pub fn detached(&self, partition: u16) {
        if let Some(known) = self.all().get_mut(&partition) {
            known.held = None;
        }
    }

    /// Removes the figures of a partition whose replica has discarded its state.
    pub fn forget(&self, partition: u16) {
        self.all().remove(&partition);
    }

    /// Returns the figures of all partitions.
    pub fn read(&self) -> BTreeMap<u16, PartitionFigures> {
        self.all().clone()
    }
}

/// The choice of tenants with series of their own: those with the most streams, chosen
/// periodically.
#[derive(Debug, Default)]
pub struct Tenants {
    chosen: Vec<String>,
    chosen_at_ms: Option<u64>,
}

impl Tenants {
    /// Splits the figures into those of the chosen tenants and the sum of all others. `total` is
    /// the sum of all tenants, `of` returns the figures of one. Iterates over all tenants only when
    /// it chooses.
    pub fn split<'a, I: Iterator<Item = (&'a str, Active)>>(
        &mut self,
        now_ms: u64,
        total: Active,
        all: impl Fn() -> I,
        of: impl Fn(&str) -> Active,
    ) -> (Vec<(String, Active)>, Active) {
        let due = self
            .chosen_at_ms
            .is_none_or(|at| now_ms.saturating_sub(at) >= CHOOSE_EVERY_MS);
        // If all tenants fit, a new one gets its series at once.
        let few = all().take(MAX_TENANTS + 1).count() <= MAX_TENANTS;
        if due || few {
            self.choose(all());
            self.chosen_at_ms = Some(now_ms);
        }
        let mut others = total;
        let shown = self.chosen.iter().map(|name| {
            let active = of(name);
            others.streams = others.streams.saturating_sub(active.streams);
            others.accounts = others.accounts.saturating_sub(active.accounts);
            (name.clone(), active)
        });
        (shown.collect(), others)
    }

    fn choose<'a>(&mut self, all: impl Iterator<Item = (&'a str, Active)>) {
        let mut all: Vec<_> = all.collect();
        if all.len() > MAX_TENANTS {
            // Ties are broken by name, so that replicas choose alike.
            all.select_nth_unstable_by(MAX_TENANTS, |(a, of_a), (b, of_b)| {
                of_b.streams.cmp(&of_a.streams).then_with(|| a.cmp(b))
            });
            all.truncate(MAX_TENANTS);
        }
        all.sort_unstable_by_key(|(name, _)| *name);
        let names = all.into_iter().map(|(name, _)| name.to_owned());
        self.chosen = names.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(streams: u64) -> Active {
        Active {
            streams,
            accounts: 1,
        }
    }

    fn split(
        tenants: &mut Tenants,
        now_ms: u64,
        all: &BTreeMap<String, Active>,
    ) -> (Vec<(String, Active)>, Active) {
        let total = Active {
            streams: all.values().map(|a| a.streams).sum(),
            accounts: all.values().map(|a| a.accounts).sum(),
        };
        let each = || all.iter().map(|(name, active)| (name.as_str(), *active));
        let of = |name: &str| all.get(name).copied().unwrap_or_default();
        tenants.split(now_ms, total, each, of)
    }

    #[test]
    fn a_few_tenants_all_have_series_immediately() {
        let mut tenants = Tenants::default();
        let mut all = BTreeMap::from([("acme".to_owned(), active(3))]);
        split(&mut tenants, 0, &all);
        all.insert("new".to_owned(), active(1));
        let (shown, others) = split(&mut tenants, 1, &all);
        let acme_and_new = [
            ("acme".to_owned(), active(3)),
            ("new".to_owned(), active(1)),
        ];
        assert_eq!(shown, acme_and_new);
        assert_eq!(others, Active::default());
    }

    #[test]
    fn only_the_largest_of_many_tenants_have_series_of_their_own() {
        let mut tenants = Tenants::default();
        let name = |n: u64| format!("t{n:04}");
        let mut all: BTreeMap<_, _> = (0..1_000).map(|n| (name(n), active(n))).collect();
        let (shown, others) = split(&mut tenants, 0, &all);
        assert_eq!(shown.len(), MAX_TENANTS);
        assert_eq!(shown[0], (name(950), active(950)));
        assert_eq!(
            others,
            Active {
                streams: (0..950).sum(),
                accounts: 950
            }
        );
        // The sum is right even with an old choice.
        all.insert("huge".to_owned(), active(10_000));
        all.remove(&name(999));
        for now_ms in [1, CHOOSE_EVERY_MS] {
            let (shown, others) = split(&mut tenants, now_ms, &all);
            let streams: u64 = shown.iter().map(|(_, a)| a.streams).sum();
            let sum: u64 = all.values().map(|a| a.streams).sum();
            assert_eq!(streams + others.streams, sum);
            let huge = shown.iter().any(|(name, _)| name == "huge");
            assert_eq!(huge, now_ms == CHOOSE_EVERY_MS);
        }
    }

    #[test]
    fn the_age_of_the_state_grows_while_the_log_is_unavailable() {
        let figures = Figures::default();
        let report = |fresh_at_ms| PartitionFigures {
            fresh_at_ms,
            held: Some(ReplicaContents::default()),
            ..PartitionFigures::default()
        };
        figures.set(0, report(Some(7)));
        figures.detached(0);
        assert_eq!(figures.read()[&0].held, None);
        figures.set(0, report(None));
        assert_eq!(figures.read()[&0].fresh_at_ms, Some(7));
        figures.forget(0);
        assert!(figures.read().is_empty());
    }
}
