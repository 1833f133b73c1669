//! The partition of every account, learned from the replies about some.

use super::bucket::bucket;
use crate::{
    domain::{AccountId, Settings},
    wire::PartitionNumber,
};

/// Replies about each bucket that must agree, with several partitions. With 64 partitions, that is 1,536
/// replies: even if RabbitMQ had only one bucket more than this computation, they would agree by chance
/// once in 10^10 times.
const REPLIES: u8 = 24;
/// Trusted partitions that may prove to be wrong before they are no longer learned this way.
const MOST_DROPS: u8 = 3;

/// The ring of RabbitMQ's consistent-hash exchange: the partition of each bucket of accounts.
///
/// The bucket of an account is computed, and each bucket belongs to one partition, since a topology
/// binds each partition with the weight 1. The ring learns from replies which partition that is. It
/// is trusted once enough replies about every bucket agree, and then states the partition of every
/// account. Each later reply is compared. If one contradicts, or a worker rejects a batch, all
/// buckets are learned again.
///
/// Replies that contradict each other before the ring is trusted prove that RabbitMQ computes
/// another bucket, or that bindings have other weights. The ring is then given up until a reply
/// states another number of partitions.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// The number of partitions that the last reply stated, and so of buckets.
    partitions: u16,
    stage: Stage,
    /// How often the trusted ring was wrong.
    drops: u8,
}

#[derive(Debug)]
enum Stage {
    Learning(Vec<Bucket>),
    /// The partition of each bucket.
    Trusted(Vec<u16>),
    GivenUp,
}

/// The replies about a bucket. All of them have stated the partition.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    partition: u16,
    replies: u8,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Learning(Vec::new())
    }
}

impl Ring {
    /// The number of partitions that the last reply stated; 0 without a reply.
    pub(super) const fn partitions(&self) -> u16 {
        self.partitions
    }

    /// Whether the partition of every account is known.
    pub(super) const fn is_trusted(&self) -> bool {
        matches!(self.stage, Stage::Trusted(_))
    }

    /// The partition of an account, if the ring is trusted.
    pub(super) fn get(&self, account: &AccountId) -> Option<PartitionNumber> {
        let Stage::Trusted(buckets) = &self.stage else {
            return None;
        };
        let partition = *buckets.get(self.bucket(account))?;
        Some(PartitionNumber {
            partition,
            partitions: self.partitions,
        })
    }

    /// Learns from a reply. Returns whether the ring has become trusted or was dropped, or the
    /// number of partitions has changed: other knowledge of partitions is then obsolete.
    pub(super) fn learn(&mut self, account: &AccountId, stated: PartitionNumber) -> bool {
        let has_changed = self.partitions != stated.partitions;
        if has_changed {
            *self = Self {
                partitions: stated.partitions,
                ..Self::default()
            };
            self.begin();
        }
        match self.get(account) {
            Some(known) if known == stated => false,
            Some(_) => {
                self.drop_trusted("a reply contradicts them");
                self.count(account, stated.partition);
                true
            }
            None => self.count(account, stated.partition) || has_changed,
        }
    }

    /// Learns that a worker has rejected a batch with an account, since its partition is not the
    /// stated one. Returns whether the ring was dropped.
    pub(super) fn reject(&mut self, account: &AccountId, stated: PartitionNumber) -> bool {
        match &self.stage {
            // A batch of an earlier topology is no contradiction.
            Stage::Trusted(_) if self.get(account) == Some(stated) => {
                self.drop_trusted("a worker has rejected a batch");
                true
            }
            Stage::Learning(_) if self.partitions == stated.partitions => {
                self.begin();
                false
            }
            _ => false,
        }
    }

    fn bucket(&self, account: &AccountId) -> usize {
        bucket(account, self.partitions).into()
    }

    fn begin(&mut self) {
        self.stage = if (1..=Settings::MAX_PARTITIONS).contains(&self.partitions) {
            Stage::Learning(vec![Bucket::default(); self.partitions.into()])
        } else {
            Stage::GivenUp
        };
    }

    fn drop_trusted(&mut self, reason: &str) {
        self.drops += 1;
        if self.drops < MOST_DROPS {
            tracing::info!(
                "the partitions of accounts have changed: {reason}; learning them again"
            );
            self.begin();
        } else {
            self.give_up(reason);
        }
    }

    fn give_up(&mut self, reason: &str) {
        tracing::warn!(
            partitions = self.partitions,
            "cannot compute the partitions of accounts: {reason}; they are learned account by account, \
             and the heartbeats of other accounts are sent alone"
        );
        self.stage = Stage::GivenUp;
    }

    /// Counts a reply about a bucket. Returns whether the ring has become trusted.
    fn count(&mut self, account: &AccountId, partition: u16) -> bool {
        let place = self.bucket(account);
        let needed = if self.partitions == 1 { 1 } else { REPLIES };
        let Stage::Learning(buckets) = &mut self.stage else {
            return false;
        };
        let mut known = buckets
            .iter()
            .enumerate()
            .filter(|(_, one)| one.replies > 0);
        // Each partition has one bucket.
        let agrees = known.all(|(n, one)| (n == place) == (one.partition == partition));
        if !agrees || partition >= self.partitions {
            self.give_up("replies contradict each other");
            return false;
        }
        let Some(bucket) = buckets.get_mut(place) else {
            return false;
        };
        bucket.partition = partition;
        bucket.replies = bucket.replies.saturating_add(1);
        if buckets.iter().any(|bucket| bucket.replies < needed) {
            return false;
        }
        tracing::debug!(
            partitions = self.partitions,
            "the partition of every account is known"
        );
        self.stage = Stage::Trusted(buckets.iter().map(|bucket| bucket.partition).collect());
        true
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
