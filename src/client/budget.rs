//! Bounds on what a client holds: messages that wait for their turn, and messages that RabbitMQ has
//! not confirmed.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Most bytes of messages that wait for their turn.
pub(super) const MOST_WAITING: usize = 16 * 1024 * 1024;
/// Most bytes of messages handed to the connection and not confirmed. lapin takes nothing back: in
/// an outage these are published late. About 400 heartbeats; RabbitMQ stops reading a connection
/// that has some 650 messages unconfirmed by a log without its majority.
pub(super) const MOST_UNCONFIRMED: usize = 256 * 1024;
/// Size of a message beside its body: its properties and its slots in queues.
const OVERHEAD: usize = 512;

/// Budget for messages, in bytes. Waiters get it in the order of their calls; a waiter that is dropped
/// gives up its place.
#[derive(Clone)]
pub(super) struct Budget {
    waiting: Arc<Semaphore>,
    unconfirmed: Arc<Semaphore>,
}

/// The room of one message, until it is dropped.
pub(super) type Reserved = OwnedSemaphorePermit;

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            unconfirmed: Arc::new(Semaphore::new(MOST_UNCONFIRMED)),
        }
    }

    /// Budget to wait with a body of `bytes`; `None` while too much waits.
    pub(super) fn to_wait(&self, bytes: usize) -> Option<Reserved> {
        let taken = Arc::clone(&self.waiting).try_acquire_many_owned(size(bytes));
        debug_assert!(!matches!(taken, Err(TryAcquireError::Closed)));
        taken.ok()
    }

    /// Budget among the unconfirmed messages for a body of `bytes`, once there is some. `None` never
    /// comes: the semaphore is not closed.
    pub(super) async fn to_send(&self, bytes: usize) -> Option<Reserved> {
        let room = Arc::clone(&self.unconfirmed);
        room.acquire_many_owned(size(bytes)).await.ok()
    }
}

/// The size of a message with a body of `bytes`, at most the whole room.
fn size(bytes: usize) -> u32 {
    let size = (bytes + OVERHEAD).min(MOST_UNCONFIRMED);
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_message_waits_for_room_and_a_waiter_that_is_dropped_takes_none() {
        let room = Budget::new();
        let large = room.to_send(usize::MAX / 2).now_or_never().flatten();
        assert!(large.is_some(), "larger than the room, and alone");
        let mut given_up = Box::pin(room.to_send(100));
        assert!((&mut given_up).now_or_never().is_none());
        let mut waits = Box::pin(room.to_send(100));
        assert!((&mut waits).now_or_never().is_none());
        drop(given_up);
        drop(large);
        assert!(waits.now_or_never().flatten().is_some());
        let free = room.unconfirmed.available_permits();
        assert_eq!(free, MOST_UNCONFIRMED, "all of it is free again");
    }

    #[test]
    fn no_more_than_the_bound_waits() {
        let room = Budget::new();
        let taken: Vec<_> = std::iter::from_fn(|| room.to_wait(512)).collect();
        assert_eq!(taken.len(), MOST_WAITING / 1_024);
        drop(taken);
        assert!(room.to_wait(512).is_some());
    }
}
