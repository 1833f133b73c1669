//! A sender of batches, such as an edge: it gathers the heartbeats and stops of players.

use std::rc::Rc;

use streamwatch::domain::{AccountKey, Batch, BatchEvent, Entry, Heartbeat, StreamId};

use crate::{event::Event, plan::RUN_MS, players, players::Deed, world::World};

/// The partition of the replicas, and the number of partitions.
const HERE: (u16, u16) = (3, 4);
/// The number of the reason of an event that a decoder rejects.
const BAD_EVENT: usize = 2;
/// The number of the reason of a batch for another partition.
pub const WRONG_PARTITION: usize = 11;

/// Whether a worker passes a batch to its replica.
pub fn is_here(batch: &Batch) -> bool {
    batch.is_for(HERE.0, HERE.1)
}

/// An account of another partition.
pub fn elsewhere() -> AccountKey {
    AccountKey::of("acme", "elsewhere").expect("a key")
}

/// The message of one event of a batch.
pub fn single(event: &BatchEvent) -> Entry {
    let BatchEvent { key, event, .. } = event.clone();
    Entry::Player { key, event }
}

impl World {
    /// Publishes a player's event alone or in a batch.
    pub fn publish_event(&mut self, entry: Rc<Entry>) {
        if self.plan.batch_ms == 0 || self.rng.u8(..8) == 0 {
            return self.take(entry);
        }
        let (key, event) = match &*entry {
            Entry::Player { key, event } => (key.clone(), event.clone()),
            Entry::Batch(_) | Entry::Internal(_) => return self.take(entry),
        };
        if self.gathered.is_empty() {
            let after = self.rng.u64(..=self.plan.batch_ms);
            self.after(after, Event::Flush);
        }
        // A device may send an event twice.
        for _ in 0..self.rng.u8(1..=8) / 7 + 1 {
            self.gathered.push(BatchEvent {
                index: self.gathered.len() as u16,
                key: key.clone(),
                event: event.clone(),
            });
        }
    }

    /// Publishes the gathered events.
    pub fn flush(&mut self) {
        let events = std::mem::take(&mut self.gathered);
        if self.now >= RUN_MS {
            return;
        }
        self.counted.batched += events.len() as u64;
        let rejected = vec![BAD_EVENT; self.rng.usize(..8) / 6];
        let partitions = self.rng.bool().then_some(HERE.1);
        let batch = Batch::new(HERE.0, partitions, events, rejected);
        let batch = Rc::new(Entry::Batch(batch));
        self.take(Rc::clone(&batch));
        if self.rng.u8(..8) == 0 {
            // Its confirm was lost.
            let after = self.rng.u64(..2 * self.plan.settings.heartbeat_every_ms);
            self.after(after, Event::Do(Deed::Publish(batch)));
        }
        if self.rng.u8(..8) == 0 {
            let event = BatchEvent {
                index: 0,
                key: elsewhere(),
                event: Heartbeat::of(StreamId(players::new_id(&mut self.rng))).into(),
            };
            let stale = match self.rng.bool() {
                true => (HERE.0 + 1, None),
                false => (HERE.0, Some(HERE.1 + 1)),
            };
            let batch = Batch::new(stale.0, stale.1, vec![event], Vec::new());
            self.counted.wrong_partition += 1;
            self.take(Rc::new(Entry::Batch(batch)));
        }
    }
}
