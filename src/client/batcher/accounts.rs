//! The partitions of accounts.

use std::collections::HashMap;

use crate::{
    domain::{AccountId, Tenant},
    wire::PartitionNumber,
};

/// The partition of all accounts, if there is one.
const ONLY: PartitionNumber = PartitionNumber {
    partition: 0,
    partitions: 1,
};

type Partitions = HashMap<Tenant, HashMap<AccountId, u16>>;

/// The known partitions of a bounded number of accounts.
///
/// Accounts are stored in two generations. A use moves an account to the young generation. When the
/// young generation is full, the old one is dropped, and the young one becomes old. So accounts are
/// dropped only by calls, which return whether they dropped any: the events of an account stay in
/// order only if its partition is kept while a batch with its events gathers. A cache that evicts at
/// any time cannot guarantee this.
///
/// With a single partition, no account is stored: the first reply about any account states the
/// partition, and the first rejected batch drops it.
#[derive(Debug)]
pub(super) struct AccountPartitions {
    /// The number of partitions that the last reply stated.
    partitions: u16,
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
            partitions: 0,
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
        if self.is_one() {
            return (Some(ONLY), false);
        }
        let number = |partition| PartitionNumber {
            partition,
            partitions: self.partitions,
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
        if self.is_one() {
            return true;
        }
        let generations = [&self.young, &self.old];
        let mut accounts = generations.into_iter().filter_map(|all| all.get(tenant));
        accounts.any(|all| all.contains_key(account))
    }

    /// Stores the partition of an account. Returns whether the partition of an account was changed
    /// or dropped. Another number of partitions drops all accounts.
    pub(super) fn learn(
        &mut self,
        tenant: &Tenant,
        account: &AccountId,
        partition: PartitionNumber,
    ) -> bool {
        let mut dropped = self.partitions != partition.partitions;
        if dropped {
            *self = Self {
                partitions: partition.partitions,
                ..Self::new(self.most * 2)
            };
        }
        if self.most == 0 {
            return false;
        }
        if self.is_one() {
            return dropped;
        }
        let (known, rotated) = self.get(tenant, account);
        dropped |= rotated;
        if known != Some(partition) {
            dropped |= self.forget(tenant, account);
            dropped |= self.insert(tenant, account.clone(), partition.partition);
        }
        dropped
    }

    /// Drops the partition of an account. Returns whether it was known.
    pub(super) fn forget(&mut self, tenant: &Tenant, account: &AccountId) -> bool {
        if self.is_one() {
            self.partitions = 0;
            return true;
        }
        let remove = |from: &mut Partitions| from.get_mut(tenant)?.remove(account);
        let young = remove(&mut self.young).is_some();
        self.count -= usize::from(young);
        remove(&mut self.old).is_some() || young
    }

    /// Whether there is one partition, by the last reply. With a bound of zero, none is known.
    const fn is_one(&self) -> bool {
        self.partitions == 1 && self.most > 0
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

    #[test]
    fn a_partition_is_known_until_it_is_forgotten() {
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
        assert!(accounts.forget(&acme, &account(1)));
        assert!(!accounts.forget(&acme, &account(1)));
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
    fn all_accounts_are_in_the_only_partition_until_one_is_forgotten() {
        let mut accounts = AccountPartitions::new(10);
        let acme = tenant();
        assert!(accounts.learn(&acme, &account(1), of(0, 1)), "the number");
        assert!(!accounts.learn(&acme, &account(2), of(0, 1)));
        assert_eq!(accounts.get(&acme, &account(3)), (Some(of(0, 1)), false));
        assert!(accounts.has(&acme, &account(4)));
        assert_eq!(size(&accounts), 0);
        // A batch was sent to the wrong partition: the topology is another.
        assert!(accounts.forget(&acme, &account(1)));
        assert_eq!(accounts.get(&acme, &account(3)), (None, false));
        assert!(accounts.learn(&acme, &account(1), of(3, 4)));
        assert_eq!(accounts.get(&acme, &account(1)), (Some(of(3, 4)), false));
        assert_eq!(accounts.get(&acme, &account(3)), (None, false));
        assert!(accounts.learn(&acme, &account(3), of(0, 1)), "the number");
        assert_eq!(accounts.get(&acme, &account(1)), (Some(of(0, 1)), false));
    }

    #[test]
    fn accounts_are_bounded_and_used_accounts_are_kept() {
        let mut accounts = AccountPartitions::new(10);
        let acme = tenant();
        accounts.learn(&acme, &account(0), of(0, 2));
        let mut dropped = 0;
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
