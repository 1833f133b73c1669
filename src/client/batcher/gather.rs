//! Gathering of events into messages, in order.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    GATHER_FOR,
    accounts::AccountPartitions,
    events::{Confirm, Events, UnconfirmedMessage},
};
use crate::{
    client::{ClientError, budget::MOST_WAITING},
    domain::{AccountId, PlayerEvent, Tenant},
    wire::PartitionNumber,
};

type Place = (Tenant, u16);

/// Batches that gather, and the queue of messages to send.
///
/// The events of an account leave in the order of calls: the queue keeps the order, an account has
/// events in at most one gathering batch, and an event alone is queued at once. So each change of a
/// known partition first closes all gathering batches. If the partition becomes known, the earlier
/// events of the account are in the queue already.
pub(super) struct Gatherer {
    pub(super) accounts: AccountPartitions,
    gathering: HashMap<Place, UnconfirmedMessage>,
    /// The start of each batch, in order, until [`Self::gather_for`] has passed.
    begun: VecDeque<(Instant, Place)>,
    queue: VecDeque<UnconfirmedMessage>,
    /// The memory of all these messages, in bytes.
    pub(super) bytes: usize,
    patience: Duration,
}

impl Gatherer {
    pub(super) fn new(most_accounts: usize, patience: Duration) -> Self {
        Self {
            accounts: AccountPartitions::new(most_accounts),
            gathering: HashMap::new(),
            begun: VecDeque::new(),
            queue: VecDeque::new(),
            bytes: 0,
            patience,
        }
    }

    /// Adds an event. Returns the receiver of its outcome, and whether a message was queued or
    /// a first batch started.
    ///
    /// # Errors
    /// [`ClientError::Backlog`] if too many events wait.
    pub(super) fn add(
        &mut self,
        tenant: &Tenant,
        account: &AccountId,
        event: &PlayerEvent,
        now: Instant,
    ) -> Result<(Confirm, bool), ClientError> {
        if self.bytes >= MOST_WAITING {
            return Err(ClientError::Backlog);
        }
        let idle = self.begun.is_empty();
        let queued = self.queue.len();
        let (partition, dropped) = self.accounts.get(tenant, account);
        if dropped {
            self.close_all();
        }
        let confirm = match partition {
            Some(partition) => self.gather(tenant, account, partition, event, now),
            None => {
                let alone = Events::alone(tenant, account, event);
                let message = UnconfirmedMessage::new(alone, now, self.patience);
                let confirm = message.outcome.subscribe();
                self.bytes += message.events.bytes();
                self.queue.push_back(message);
                confirm
            }
        };
        Ok((confirm, idle || self.queue.len() > queued))
    }

    fn gather(
        &mut self,
        tenant: &Tenant,
        account: &AccountId,
        partition: PartitionNumber,
        event: &PlayerEvent,
        now: Instant,
    ) -> Confirm {
        let patience = self.patience;
        let begin =
            || UnconfirmedMessage::new(Events::batch(tenant, account, partition), now, patience);
        let place = (tenant.clone(), partition.partition);
        let (mut batch, mut before) = match self.gathering.entry(place) {
            Entry::Occupied(batch) => {
                let before = batch.get().events.bytes();
                (batch, before)
            }
            Entry::Vacant(none) => {
                self.begun.push_back((now, none.key().clone()));
                (none.insert_entry(begin()), 0)
            }
        };
        let message = batch.get_mut();
        if !message.events.push(account, event) {
            self.queue.push_back(std::mem::replace(message, begin()));
            message.events.push(account, event);
            before = 0;
            self.begun.push_back((now, batch.key().clone()));
        }
        let message = batch.get();
        self.bytes += message.events.bytes() - before;
        let confirm = message.outcome.subscribe();
        if message.events.is_full() {
            self.queue.push_back(batch.remove());
        }
        confirm
    }

    /// Stores the partition of an account. Returns whether a message was queued.
    pub(super) fn learn(
        &mut self,
        tenant: &Tenant,
        account: &AccountId,
        partition: PartitionNumber,
    ) -> bool {
        self.accounts.learn(tenant, account, partition) && self.close_all()
    }

    /// Drops the partitions of the accounts of a batch that a worker has rejected.
    pub(super) fn reject(&mut self, batch: &Events) {
        let Some(partition) = batch.partition() else {
            return;
        };
        for account in batch.accounts() {
            if self.accounts.reject(&batch.tenant, &account, partition) {
                self.close_all();
            }
        }
    }

    /// Queues all gathering batches. Returns whether there was one.
    fn close_all(&mut self) -> bool {
        let queued = self.queue.len();
        for (began, place) in std::mem::take(&mut self.begun) {
            self.close(began, place);
        }
        self.queue.len() > queued
    }

    /// Queues the batch that started at this time, if it still gathers.
    fn close(&mut self, began: Instant, place: Place) {
        if let Entry::Occupied(batch) = self.gathering.entry(place)
            && batch.get().began == began
        {
            self.queue.push_back(batch.remove());
        }
    }

    /// The longest time that a batch gathers: at most half of the patience.
    fn gather_for(&self) -> Duration {
        GATHER_FOR.min(self.patience / 2)
    }

    /// Queues the batches that have gathered for long enough.
    pub(super) fn close_gathered(&mut self, now: Instant) {
        let gather_for = self.gather_for();
        while let Some((began, _)) = self.begun.front()
            && *began + gather_for <= now
            && let Some((began, place)) = self.begun.pop_front()
        {
            self.close(began, place);
        }
    }

    pub(super) fn pop(&mut self) -> Option<UnconfirmedMessage> {
        let message = self.queue.pop_front()?;
        self.bytes -= message.events.bytes();
        Some(message)
    }

    /// Removes the next message if its patience has passed.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<UnconfirmedMessage> {
        let first = self.queue.front()?;
        if first.began + first.patience > now {
            return None;
        }
        self.pop()
    }

    /// The time at which a batch may have gathered for long enough, or the next message expires.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let gathered = self.begun.front();
        let gathered = gathered.map(|(began, _)| *began + self.gather_for());
        let first = self.queue.front();
        let expires = first.map(|first| first.began + first.patience);
        gathered.into_iter().chain(expires).min()
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
