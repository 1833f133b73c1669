//! Heartbeats and stops of many streams in one entry.

use super::{AccountKey, PlayerEvent};

/// Maximum number of events in a batch.
pub const MAX_BATCH_EVENTS: usize = 1_000;

/// Heartbeats and stops of one tenant's accounts, which its sender takes to belong to one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The partition that its sender states.
    partition: u16,
    /// The number of partitions, if its sender states it.
    partitions: Option<u16>,
    /// Ordered by account; those of one account in the order of the message.
    events: Vec<BatchEvent>,
    /// The number of the reason of each rejected event.
    rejected: Vec<usize>,
}

/// A heartbeat or a stop in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchEvent {
    /// Its position in the message, rejected events included.
    pub index: u16,
    /// The account.
    pub key: AccountKey,
    /// The event.
    pub event: PlayerEvent,
}

impl Batch {
    /// Creates a batch of events in the order of the message. `rejected` contains the number of the
    /// reason of each rejected event.
    #[must_use]
    pub fn new(
        partition: u16,
        partitions: Option<u16>,
        mut events: Vec<BatchEvent>,
        rejected: Vec<usize>,
    ) -> Self {
        // Stable, so that the events of one account stay in order.
        events.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            partition,
            partitions,
            events,
            rejected,
        }
    }

    /// Whether its sender means `partition` of `partitions`. A sender with an outdated
    /// mapping may have mixed accounts of several partitions, so nothing of its batch may count.
    #[must_use]
    pub fn is_for(&self, partition: u16, partitions: u16) -> bool {
        self.partition == partition && self.partitions.is_none_or(|stated| stated == partitions)
    }

    /// All events, ordered by account; those of one account in the order of the message.
    #[must_use]
    pub fn events(&self) -> &[BatchEvent] {
        &self.events
    }

    /// The events of each account.
    pub fn by_account(&self) -> impl Iterator<Item = (&AccountKey, &[BatchEvent])> {
        let accounts = self.events.chunk_by(|a, b| a.key == b.key);
        accounts.filter_map(|events| Some((&events.first()?.key, events)))
    }

    /// The number of the reason of each rejected event.
    #[must_use]
    pub fn rejected(&self) -> &[usize] {
        &self.rejected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Stop, StreamId};

    fn event(index: u16, account: &str) -> BatchEvent {
        BatchEvent {
            index,
            key: AccountKey::of("acme", account).unwrap(),
            event: Stop::of(StreamId::generate()).into(),
        }
    }

    #[test]
    fn events_are_grouped_by_account_and_stay_in_order() {
        let accounts = ["bob", "alice", "bob", "carol", "alice", "bob"];
        let events = (0..).zip(accounts).map(|(n, account)| event(n, account));
        let batch = Batch::new(0, None, events.collect(), Vec::new());
        let groups: Vec<(&str, Vec<u16>)> = batch
            .by_account()
            .map(|(key, events)| (key.account(), events.iter().map(|e| e.index).collect()))
            .collect();
        let expected = [
            ("alice", vec![1, 4]),
            ("bob", vec![0, 2, 5]),
            ("carol", vec![3]),
        ];
        assert_eq!(groups, expected);
        assert_eq!(batch.events().len(), accounts.len());
    }

    #[test]
    fn a_batch_is_for_its_partition_and_for_the_number_of_partitions_that_it_states() {
        let batch = |partitions| Batch::new(3, partitions, Vec::new(), Vec::new());
        assert!(batch(None).is_for(3, 4));
        assert!(batch(Some(4)).is_for(3, 4));
        assert!(!batch(None).is_for(2, 4));
        assert!(!batch(Some(8)).is_for(3, 4));
    }
}
