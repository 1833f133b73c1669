//! Limits of a client's memory: for messages that wait to be sent, and for unconfirmed messages.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Most bytes of messages that wait to be sent.
pub(super) const MOST_WAITING: usize = 16 * 1024 * 1024;
/// Most bytes of unconfirmed messages, about 400 heartbeats. lapin cannot cancel a message, so
/// these are published late after an outage. RabbitMQ stops reading from a connection with about
/// 650 messages that are unconfirmed by a log without a majority.
pub(super) const MOST_UNCONFIRMED: usize = 256 * 1024;
/// Size of a message in addition to its body, in bytes: its properties and its places in queues.
const OVERHEAD: usize = 512;

/// A budget for messages, in bytes. It is granted in the order of calls; a dropped call loses its
/// place.
#[derive(Clone)]
pub(super) struct Budget {
    waiting: Arc<Semaphore>,
    unconfirmed: Arc<Semaphore>,
}

/// The bytes reserved for one message. Dropping it releases them.
pub(super) type Reserved = OwnedSemaphorePermit;

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            unconfirmed: Arc::new(Semaphore::new(MOST_UNCONFIRMED)),
        }
    }

    /// Reserves bytes for a waiting message with a body of `bytes`; `None` if too many messages
    /// wait.
    pub(super) fn to_wait(&self, bytes: usize) -> Option<Reserved> {
        let taken = Arc::clone(&self.waiting).try_acquire_many_owned(size(bytes));
        debug_assert!(!matches!(taken, Err(TryAcquireError::Closed)));
        taken.ok()
    }

    /// Waits for bytes for an unconfirmed message with a body of `bytes`. Never `None`, since the
    /// semaphore is not closed.
    pub(super) async fn to_send(&self, bytes: usize) -> Option<Reserved> {
        let budget = Arc::clone(&self.unconfirmed);
        budget.acquire_many_owned(size(bytes)).await.ok()
    }
}

/// The size of a message with a body of `bytes`, at most the whole budget.
fn size(bytes: usize) -> u32 {
    let size = (bytes + OVERHEAD).min(MOST_UNCONFIRMED);
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_message_waits_for_budget_and_a_dropped_waiter_takes_none() {
        let budget = Budget::new();
        let large = budget.to_send(usize::MAX / 2).now_or_never().flatten();
        assert!(large.is_some(), "larger than the budget, and alone");
        let mut dropped = Box::pin(budget.to_send(100));
        assert!((&mut dropped).now_or_never().is_none());
        let mut waits = Box::pin(budget.to_send(100));
        assert!((&mut waits).now_or_never().is_none());
        drop(dropped);
        drop(large);
        assert!(waits.now_or_never().flatten().is_some());
        let free = budget.unconfirmed.available_permits();
        assert_eq!(free, MOST_UNCONFIRMED, "all of it is free again");
    }

    #[test]
    fn waiting_messages_are_bounded() {
        let budget = Budget::new();
        let taken: Vec<_> = std::iter::from_fn(|| budget.to_wait(512)).collect();
        assert_eq!(taken.len(), MOST_WAITING / 1_024);
        drop(taken);
        assert!(budget.to_wait(512).is_some());
    }
}
