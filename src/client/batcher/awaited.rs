//! Sent messages whose replies may still arrive.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::events::Events;
use crate::domain::{AccountId, StreamId, Tenant};

/// Most sent messages whose events are kept for a reply. A [`Client`](crate::client::Client) waits
/// for twice as many.
const MOST_MESSAGES: usize = 5_000;
/// Most bytes of these events.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The events of sent messages by number, in the order of sending. Workers reply only to those
/// with bad news, so the oldest are dropped.
#[derive(Default)]
pub(super) struct Awaited {
    /// The number of the first message.
    first: u64,
    messages: VecDeque<Option<Kept>>,
    bytes: usize,
}

struct Kept {
    events: Events,
    /// Ends the wait for the reply when dropped.
    _waits: oneshot::Sender<()>,
}

impl Awaited {
    /// Adds the events of a message that is about to be sent. Returns its number, and a receiver
    /// that fails once the events are dropped.
    pub(super) fn push(&mut self, events: Events) -> (u64, oneshot::Receiver<()>) {
        let (waits, dropped) = oneshot::channel();
        self.bytes += events.bytes();
        let kept = Kept {
            events,
            _waits: waits,
        };
        self.messages.push_back(Some(kept));
        while self.messages.len() > MOST_MESSAGES || self.bytes > MOST_BYTES {
            self.pop();
        }
        let number = self.first + self.messages.len() as u64 - 1;
        (number, dropped)
    }

    fn pop(&mut self) {
        if let Some(first) = self.messages.pop_front() {
            self.first += 1;
            self.bytes -= first.map_or(0, |kept| kept.events.bytes());
        }
    }

    /// Removes the events of a message. `None` if they were dropped before.
    pub(super) fn remove(&mut self, number: u64) -> Option<Events> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let events = self.messages.get_mut(place)?.take()?.events;
        self.bytes -= events.bytes();
        while let Some(None) = self.messages.front() {
            self.pop();
        }
        Some(events)
    }

    /// Returns whether a message after that of `number` contains the stop of a stream.
    pub(super) fn stops_after(
        &self,
        number: u64,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
    ) -> bool {
        let before = (number + 1).saturating_sub(self.first);
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        let mut after = self.messages.iter().skip(before).flatten();
        after.any(|kept| kept.events.stop(tenant, account, stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Heartbeat, Stop};

    fn tenant() -> Tenant {
        Tenant::new("acme").unwrap()
    }

    fn account() -> AccountId {
        AccountId::new("alice").unwrap()
    }

    fn stop(stream: StreamId) -> Events {
        Events::alone(&tenant(), &account(), &Stop::of(stream).into())
    }

    #[test]
    fn the_oldest_messages_are_dropped() {
        let mut awaited = Awaited::default();
        let (first, mut dropped) = awaited.push(stop(StreamId::generate()));
        let (second, _) = awaited.push(stop(StreamId::generate()));
        for _ in 2..MOST_MESSAGES {
            awaited.push(stop(StreamId::generate()));
        }
        let empty = oneshot::error::TryRecvError::Empty;
        assert_eq!(dropped.try_recv(), Err(empty));
        let (last, _) = awaited.push(stop(StreamId::generate()));
        assert!(awaited.remove(first).is_none());
        let closed = oneshot::error::TryRecvError::Closed;
        assert_eq!(dropped.try_recv(), Err(closed));
        assert!(awaited.remove(second).is_some() && awaited.remove(second).is_none());
        for number in second..=last {
            awaited.remove(number);
        }
        assert_eq!((awaited.bytes, awaited.messages.len()), (0, 0));
        let (next, _) = awaited.push(stop(StreamId::generate()));
        assert_eq!(next, last + 1);
    }

    #[test]
    fn bytes_are_bounded() {
        let mut awaited = Awaited::default();
        let metadata = (0..16).map(|n| (n.to_string(), "m".repeat(256)));
        let metadata = crate::domain::Metadata::new(&mut metadata.collect::<Vec<_>>()).unwrap();
        let large = || Heartbeat {
            metadata: Some(metadata.clone().into()),
            ..Heartbeat::of(StreamId::generate())
        };
        for _ in 0..1_000 {
            let here = crate::wire::PartitionNumber {
                partition: 0,
                partitions: 1,
            };
            let mut batch = Events::batch(&tenant(), &account(), here);
            while batch.push(&account(), &large().into()) {}
            awaited.push(batch);
        }
        assert!((MOST_BYTES * 9 / 10..=MOST_BYTES).contains(&awaited.bytes));
    }

    #[test]
    fn a_stop_is_found_only_in_later_messages() {
        let mut awaited = Awaited::default();
        let stream = StreamId::generate();
        let (before, _) = awaited.push(stop(StreamId::generate()));
        let (number, _) = awaited.push(stop(stream));
        let stops_after =
            |awaited: &Awaited, number| awaited.stops_after(number, &tenant(), &account(), stream);
        assert!(stops_after(&awaited, before));
        assert!(!stops_after(&awaited, number));
        awaited.remove(before);
        assert!(stops_after(&awaited, before), "its events are gone");
        awaited.remove(number);
        assert!(!stops_after(&awaited, before));
    }
}
