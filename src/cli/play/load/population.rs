//! The accounts and streams of a load, reproducible by seed.

use fastrand::Rng;
use uuid::Builder;

use crate::{
    cli::play::expected::ExpectedStreams,
    client::{AccountId, StreamId, Tenant},
};

/// Accounts per partition in a sample of all accounts, which covers 19 of 20 partitions.
const SOME: usize = 3;
/// Accounts per partition in a sample that misses a partition less often than once in a million.
const ALL: usize = 18;

#[derive(Debug)]
pub(super) struct Population {
    pub(super) tenant: Tenant,
    pub(super) accounts: usize,
    pub(super) devices: usize,
    pub(super) seed: u64,
    /// Number of partitions of the installation.
    pub(super) partitions: usize,
}

impl Population {
    /// One stream of the load.
    pub(super) fn random_stream(&self, random: &mut Rng) -> (AccountId, StreamId) {
        let account = random.usize(..self.accounts);
        let device = random.usize(..self.devices);
        (
            ExpectedStreams::name(account),
            self.stream(account * self.devices + device),
        )
    }

    /// The number of an account, and one of its streams. Each stream has its turn once in as many
    /// turns as there are streams, and neighbouring turns are of different accounts. So a large
    /// population stays active without a timer for each stream.
    pub(super) fn in_turn(&self, turn: usize) -> (usize, StreamId) {
        let turn = turn % (self.accounts * self.devices);
        let (device, account) = (turn / self.accounts, turn % self.accounts);
        (account, self.stream(account * self.devices + device))
    }

    fn stream(&self, number: usize) -> StreamId {
        // Odd, so that no two numbers share a seed; large, so that runs with consecutive seeds
        // share no streams.
        const APART: u64 = 0x9e37_79b9_7f4a_7c15;
        let seed = self.seed.wrapping_add((number as u64).wrapping_mul(APART));
        let bytes = Rng::with_seed(seed).u128(..).to_le_bytes();
        StreamId(Builder::from_random_bytes(bytes).into_uuid())
    }

    /// A sample of accounts. A client cannot determine an account's partition, so a number of
    /// accounts covers most partitions.
    pub(super) fn some(&self, random: &mut Rng) -> Vec<AccountId> {
        match self.partitions {
            1 => vec![ExpectedStreams::name(random.usize(..self.accounts))],
            partitions => self.pick(SOME * partitions, random),
        }
    }

    /// A sample that almost certainly covers all partitions, or all accounts.
    pub(super) fn everywhere(&self, random: &mut Rng) -> Vec<AccountId> {
        match self.partitions {
            1 => self.some(random),
            partitions => self.pick(ALL * partitions, random),
        }
    }

    /// Number of replies to [`Self::some`] that cover as many accounts as [`Self::everywhere`].
    pub(super) const fn together(&self) -> usize {
        if self.partitions == 1 || self.accounts <= SOME * self.partitions {
            1
        } else {
            ALL.div_ceil(SOME)
        }
    }

    fn pick(&self, most: usize, random: &mut Rng) -> Vec<AccountId> {
        let picked = random.choose_multiple(0..self.accounts, most);
        picked.into_iter().map(ExpectedStreams::name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn population(accounts: usize, partitions: usize, seed: u64) -> Population {
        Population {
            tenant: Tenant::new("demo").unwrap(),
            accounts,
            devices: 2,
            seed,
            partitions,
        }
    }

    #[test]
    fn equal_seeds_have_equal_streams() {
        let streams = |seed| -> BTreeSet<_> {
            let population = population(50, 1, seed);
            (0..100).map(|n| population.stream(n)).collect()
        };
        assert_eq!(streams(7), streams(7));
        assert_eq!(streams(7).len(), 100);
        assert!(streams(7).is_disjoint(&streams(8)));
    }

    #[test]
    fn each_stream_has_its_turn_once() {
        let population = population(50, 1, 7);
        let all: BTreeSet<_> = (0..100).map(|n| population.in_turn(n).1).collect();
        assert_eq!(all, (0..100).map(|n| population.stream(n)).collect());
        assert_eq!(population.in_turn(3), population.in_turn(103));
        let random = &mut Rng::with_seed(1);
        assert!(all.contains(&population.random_stream(random).1));
    }

    #[test]
    fn one_partition_needs_one_request_and_several_need_many() {
        let random = &mut Rng::with_seed(1);
        assert_eq!(population(50, 1, 1).everywhere(random).len(), 1);
        assert_eq!(population(1_000, 4, 1).some(random).len(), 12);
        let all: BTreeSet<_> = population(50, 4, 1)
            .everywhere(random)
            .into_iter()
            .collect();
        assert_eq!(
            all.len(),
            50,
            "a small population is asked about completely"
        );
        let together = |accounts, partitions| population(accounts, partitions, 1).together();
        assert_eq!(
            (together(50, 1), together(50, 4), together(12, 4)),
            (1, 6, 1)
        );
    }
}
