//! The partitions of accounts.

use std::collections::HashMap;

use super::ring::Ring;
use crate::{
    domain::{AccountId, Tenant},
    wire::PartitionNumber,
};

type Partitions = HashMap<Tenant, HashMap<AccountId, u16>>;

/// The known partitions of accounts: by the [`Ring`] once it is trusted, until then of a bounded
/// number of accounts.
///
/// There are two generations of accounts. A use moves an account to the young one; once that is full,
/// the old one is dropped, and the young one becomes the old one. So accounts are dropped only in
/// calls, which return it: the events of an account stay in order only if its partition is not
/// dropped while a batch with its events gathers. A cache that evicts at any moment does not fit
/// here.
#[derive(Debug)]
pub(super) struct AccountPartitions {
    ring: Ring,
    young: Partitions,
    old: Partitions,
    /// The number of accounts in the young generation, and its bound.
    count: usize,
    most: usize,
}

impl AccountPartitions {
    /// Creates a map of at most `most` accounts. The most recently used half is always kept.
    pub(super) fn new(most: usize) -> Self {
        Self {
            ring: Ring::default(),
            young: Partitions::new(),
            old: Partitions::new(),
            count: 0,
            most: most / 2,
        }
    }

    /// Returns the partition of an account, and whether other accounts were dropped.
    pub(super) fn get(
        &mut self,
        tenant: &Tenant,
        account: &AccountId,
    ) -> (Option<PartitionNumber>, bool) {
        if let Some(number) = self.ring.get(account) {
            return (Some(number), false);
        }
        let number = |partition| PartitionNumber {
            partition,
            partitions: self.ring.partitions(),
        };
        let young = self.young.get(tenant).and_then(|young| young.get(account));
        if let Some(partition) = young {
            return (Some(number(*partition)), false);
        }
        let old = self.old.get_mut(tenant);
        let Some((account, partition)) = old.and_then(|old| old.remove_entry(account)) else {
            return (None, false);
        };
        let number = number(partition);
        (Some(number), self.insert(tenant, account, partition))
    }

    /// Returns whether the partition of an account is known. Does not count as a use.
    pub(super) fn has(&self, tenant: &Tenant, account: &AccountId) -> bool {
        if self.ring.is_trusted() {
            return true;
        }
        let generations = [&self.young, &self.old];
        let mut accounts = generations.into_iter().filter_map(|all| all.get(tenant));
        accounts.any(|all| all.contains_key(account))
    }

    /// Learns the partition of an account from a reply. Returns whether the partition of an account
    /// may have changed, or was dropped. Another number of partitions drops all accounts. With a bound
    /// of zero, none is learned.
    pub(super) fn learn(
        &mut self,
        tenant: &Tenant,
        account: &AccountId,
        partition: PartitionNumber,
    ) -> bool {
        if self.most == 0 {
            return false;
        }
        let mut dropped = self.ring.learn(account, partition);
        if dropped {
            self.clear();
        }
        if self.ring.is_trusted() {
            return dropped;
        }
        let (known, rotated) = self.get(tenant, account);
        dropped |= rotated;
        if known != Some(partition) {
            dropped |= self.remove(tenant, account);
            dropped |= self.insert(tenant, account.clone(), partition.partition);
        }
        dropped
    }

    /// Drops the partition of an account, since a worker has rejected a batch with the account that
    /// stated this partition. Returns whether the partition of an account was dropped.
    pub(super) fn reject(
        &mut self,
        tenant: &Tenant,
        account: &AccountId,
        stated: PartitionNumber,
    ) -> bool {
        let dropped = self.ring.reject(account, stated);
        self.remove(tenant, account) || dropped
    }

    fn remove(&mut self, tenant: &Tenant, account: &AccountId) -> bool {
        let remove = |from: &mut Partitions| from.get_mut(tenant)?.remove(account);
        let young = remove(&mut self.young).is_some();
        self.count -= usize::from(young);
        remove(&mut self.old).is_some() || young
    }

    /// Drops all accounts, and frees their memory.
    fn clear(&mut self) {
        self.young = Partitions::new();
        self.old = Partitions::new();
        self.count = 0;
    }

    /// Adds an unknown account to the young generation. Returns whether other accounts were dropped.
    fn insert(&mut self, tenant: &Tenant, account: AccountId, partition: u16) -> bool {
        let mut dropped = false;
        if self.count == self.most {
            dropped = self.old.values().any(|old| !old.is_empty());
            self.old = std::mem::take(&mut self.young);
            self.count = 0;
        }
        self.count += 1;
        if let Some(young) = self.young.get_mut(tenant) {
            young.insert(account, partition);
        } else {
            let young = HashMap::from([(account, partition)]);
            self.young.insert(tenant.clone(), young);
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::batcher::bucket::bucket;

    fn of(partition: u16, partitions: u16) -> PartitionNumber {
        PartitionNumber {
            partition,
            partitions,
        }
    }

    fn tenant() -> Tenant {
        Tenant::new("acme").unwrap()
    }

    fn account(n: usize) -> AccountId {
        AccountId::new(&format!("viewer-{n}")).unwrap()
    }

    fn size(accounts: &AccountPartitions) -> usize {
        let generations = [&accounts.young, &accounts.old];
        let tenants = generations.iter().flat_map(|one| one.values());
        tenants.map(HashMap::len).sum()
    }

    /// Learns the true partitions of some accounts, until the ring is trusted.
    fn learn_all(accounts: &mut AccountPartitions, partitions: u16) {
        for n in 10_000.. {
            let number = of(bucket(&account(n), partitions), partitions);
            accounts.learn(&tenant(), &account(n), number);
            if accounts.ring.is_trusted() {
                return;
            }
        }
    }

    #[test]
    fn a_partition_is_known_until_a_worker_rejects_it() {
        let mut accounts = AccountPartitions::new(10);
        let (acme, other) = (tenant(), Tenant::new("other").unwrap());
        assert_eq!(accounts.get(&acme, &account(1)), (None, false));
        assert!(accounts.learn(&acme, &account(1), of(3, 4)), "the number");
        assert!(!accounts.learn(&acme, &account(2), of(1, 4)));
        assert!(!accounts.learn(&acme, &account(1), of(3, 4)), "no change");
        assert_eq!(accounts.get(&acme, &account(1)), (Some(of(3, 4)), false));
        assert_eq!(accounts.get(&other, &account(1)), (None, false));
        assert!(accounts.learn(&acme, &account(1), of(2, 4)), "a change");
        assert_eq!(accounts.get(&acme, &account(1)), (Some(of(2, 4)), false));
        assert!(accounts.reject(&acme, &account(1), of(2, 4)));
        assert!(!accounts.reject(&acme, &account(1), of(2, 4)));
        assert_eq!(accounts.get(&acme, &account(1)), (None, false));
        assert_eq!(accounts.get(&acme, &account(2)), (Some(of(1, 4)), false));
    }

    #[test]
    fn another_number_of_partitions_drops_all_accounts() {
        let mut accounts = AccountPartitions::new(10);
        let acme = tenant();
        accounts.learn(&acme, &account(1), of(3, 4));
        assert!(accounts.learn(&acme, &account(2), of(7, 8)));
        assert_eq!(accounts.get(&acme, &account(1)), (None, false));
        assert_eq!(accounts.get(&acme, &account(2)), (Some(of(7, 8)), false));
    }

    #[test]
    fn all_accounts_are_in_the_only_partition_until_one_is_rejected() {
        let mut accounts = AccountPartitions::new(10);
        let acme = tenant();
        assert!(accounts.learn(&acme, &account(1), of(0, 1)), "the number");
        assert!(!accounts.learn(&acme, &account(2), of(0, 1)));
        assert_eq!(accounts.get(&acme, &account(3)), (Some(of(0, 1)), false));
        assert!(accounts.has(&acme, &account(4)));
        assert_eq!(size(&accounts), 0);
        // A batch was sent to the wrong partition: the topology is another.
        assert!(accounts.reject(&acme, &account(1), of(0, 1)));
        assert_eq!(accounts.get(&acme, &account(3)), (None, false));
        assert!(accounts.learn(&acme, &account(1), of(3, 4)));
        assert_eq!(accounts.get(&acme, &account(1)), (Some(of(3, 4)), false));
        assert_eq!(accounts.get(&acme, &account(3)), (None, false));
        assert!(accounts.learn(&acme, &account(3), of(0, 1)), "the number");
        assert_eq!(accounts.get(&acme, &account(1)), (Some(of(0, 1)), false));
    }

    #[test]
    fn a_trusted_ring_replaces_the_accounts_until_it_is_dropped() {
        let mut accounts = AccountPartitions::new(10);
        let (acme, here) = (tenant(), of(bucket(&account(1), 4), 4));
        let before = of((here.partition + 1) % 4, 4);
        accounts.learn(&acme, &account(1), before);
        assert_eq!(size(&accounts), 1);
        // The topology is another one. The account stays, since no reply is about it.
        accounts.reject(&acme, &account(2), before);
        learn_all(&mut accounts, 4);
        assert_eq!(size(&accounts), 0, "the map is dropped");
        assert_eq!(accounts.get(&acme, &account(1)), (Some(here), false));
        assert!(!accounts.learn(&acme, &account(1), here));
        assert!(accounts.has(&acme, &account(2)));
        assert_eq!(size(&accounts), 0);

        // A batch of an earlier topology.
        assert!(!accounts.reject(&acme, &account(1), before));
        assert!(accounts.reject(&acme, &account(1), here));
        assert_eq!(accounts.get(&acme, &account(1)), (None, false));
        assert!(!accounts.has(&acme, &account(2)));
        learn_all(&mut accounts, 4);
        assert!(accounts.learn(&acme, &account(1), before), "it contradicts");
        assert_eq!(accounts.get(&acme, &account(1)), (Some(before), false));
        assert!(!accounts.has(&acme, &account(2)));
        learn_all(&mut accounts, 3);
        assert!(accounts.has(&acme, &account(2)));

        // Without accounts, nothing is learned.
        let mut none = AccountPartitions::new(0);
        for n in 0..1_000 {
            none.learn(&acme, &account(n), of(bucket(&account(n), 4), 4));
        }
        assert!(!none.has(&acme, &account(1)));
    }

    #[test]
    fn the_accounts_are_bounded_and_used_ones_stay() {
        let mut accounts = AccountPartitions::new(10);
        let acme = tenant();
        accounts.learn(&acme, &account(0), of(0, 2));
        let mut dropped = 0;
        // All are in one partition, so the ring is not trusted.
        for n in 1..1_000 {
            dropped += usize::from(accounts.learn(&acme, &account(n), of(0, 2)));
            let (used, rotated) = accounts.get(&acme, &account(0));
            dropped += usize::from(rotated);
            assert_eq!(used, Some(of(0, 2)), "{n}");
            assert!(size(&accounts) <= 10);
        }
        // Each generation of 5 has the used account and 4 others.
        assert!((240..=250).contains(&dropped), "{dropped}");
        assert_eq!(accounts.get(&acme, &account(1)), (None, false));
        assert_eq!(accounts.get(&acme, &account(999)).0, Some(of(0, 2)));

        let mut none = AccountPartitions::new(0);
        assert!(!none.learn(&acme, &account(0), of(0, 2)));
        assert_eq!(none.get(&acme, &account(0)), (None, false));
    }
}
