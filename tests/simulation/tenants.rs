//! Requests about tenants, and checks of their answers against all accounts of the replica.

use std::collections::BTreeMap;

use streamwatch::{
    domain::{
        AccountsRequest, LogTime, Tenant, TenantAnswer, TenantRequest, TotalsRequest, ValueCounts,
    },
    replica::Replica,
};

use crate::world::World;

/// The request about a tenant. A worker has at most one.
pub const ABOUT_TENANT: u64 = u64::MAX;

/// The active streams of each account of a tenant, by reading every account.
fn accounts_of(world: &World, w: usize, tenant: &str, at: LogTime) -> BTreeMap<String, u32> {
    let replica = &world.workers[w].replica;
    let keys = world
        .observer
        .keys
        .iter()
        .filter(|key| key.tenant() == tenant);
    let counted = keys.filter_map(|key| {
        let count = replica.account(key)?.count(at) as u32;
        (count > 0).then(|| (key.account().to_owned(), count))
    });
    counted.collect()
}

fn values_of<T>(replica: &Replica<T>, tenant: &str, key: &str) -> BTreeMap<String, u64> {
    let ValueCounts { values, others } = replica.values_of(tenant, key);
    assert_eq!(others, 0, "the players use few values");
    values.into_iter().collect()
}

impl World {
    /// Lets a worker read some accounts, checks its totals, and sends a request about a tenant.
    pub fn about_tenants(&mut self, w: usize) {
        let clocks = self.workers[w].clocks(self.now);
        // Otherwise the pass goes on after the entries up to the next tick.
        if self.rng.bool() {
            while self.workers[w].replica.is_scanning() {
                self.workers[w].replica.scan(clocks);
            }
            self.obey(w);
        }
        self.check_totals(w);
        if !self.workers[w].taking || self.rng.u8(..4) != 0 {
            return;
        }
        let Some(tenant) = self
            .observer
            .keys
            .first()
            .map(|key| key.tenant().to_owned())
        else {
            return;
        };
        let tenant = Tenant::new(&tenant).expect("a tenant's name");
        let request = if self.rng.bool() {
            TenantRequest::Accounts(AccountsRequest {
                tenant,
                min_active: self.rng.u32(1..3),
                after: None,
                limit: self.rng.u16(1..5),
            })
        } else {
            TenantRequest::Totals(TotalsRequest {
                tenant,
                group_by: Vec::new(),
            })
        };
        let replica = &mut self.workers[w].replica;
        replica.about_tenant(ABOUT_TENANT, request, clocks);
        self.obey(w);
    }

    /// The totals of each tenant equal those of all accounts.
    fn check_totals(&mut self, w: usize) {
        let replica = &self.workers[w].replica;
        let Some(now) = replica.log_time() else {
            return;
        };
        // The observer lists the accounts of the log that is there.
        let worker = &self.workers[w];
        let is_of_this_log = worker.history.generation == self.observer.generation
            && worker.diverged.is_none()
            && replica.has_caught_up();
        if replica.is_expiring() || replica.is_scanning() || !is_of_this_log {
            return;
        }
        let tenants: Vec<_> = self
            .observer
            .keys
            .iter()
            .map(|k| k.tenant().to_owned())
            .collect();
        for tenant in tenants {
            let accounts = accounts_of(self, w, &tenant, now);
            let totals = replica.totals_of(&tenant);
            let streams = accounts.values().map(|n| u64::from(*n)).sum::<u64>();
            assert_eq!(
                (totals.accounts, totals.streams),
                (accounts.len() as u64, streams),
                "worker {w}, tenant {tenant}"
            );
            for key in replica.counted_keys() {
                let mut expected: BTreeMap<String, u64> = BTreeMap::new();
                for account in self.observer.keys.iter().filter(|k| k.tenant() == tenant) {
                    let account = replica.account(account).unwrap_or_default();
                    let values = account.active_metadata(now).filter_map(|it| it.get(key));
                    for value in values {
                        *expected.entry(value.to_owned()).or_default() += 1;
                    }
                }
                let counted = values_of(replica, &tenant, key);
                assert_eq!(counted, expected, "worker {w}, tenant {tenant}, by {key}");
            }
        }
        self.counted.totals += 1;
    }

    /// Checks the form of an answer: the replica's state may have changed while it was collected.
    pub fn tenant_answer(&mut self, w: usize, answer: &TenantAnswer) {
        match answer {
            TenantAnswer::Accounts(page) => {
                let names: Vec<_> = page.accounts.iter().map(|it| it.account.as_str()).collect();
                assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
                assert!(page.accounts.iter().all(|it| it.count > 0));
                self.counted.pages += 1;
            }
            TenantAnswer::Totals(totals) => {
                let keys: Vec<_> = totals.by.iter().map(|(key, _)| key).collect();
                let counted: Vec<_> = self.workers[w].replica.counted_keys().iter().collect();
                assert_eq!(keys, counted);
            }
        }
    }
}
