//! The handle that passes replies on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{PATIENCE, pending::PendingReply};
use crate::{
    broker::{Receipt, reply_to::ReplyTo},
    wire::Encoded,
};

/// Most bytes of unconfirmed replies.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Longest wait for confirms at shutdown.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// A handle that passes replies to a [`super::ReplySender`].
#[derive(Clone)]
pub struct Replies {
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    pub(super) bytes: Arc<AtomicUsize>,
}

/// An order to a [`super::ReplySender`].
pub(super) enum Job {
    Reply(Box<PendingReply>),
    Flush(oneshot::Sender<()>),
}

impl Replies {
    /// Sends a reply without waiting, and acknowledges its request once the broker confirms the
    /// reply. If too many replies are unconfirmed, requeues the request and returns false.
    #[must_use]
    pub fn reply(&self, to: ReplyTo, reply: Encoded, receipt: Option<Receipt>) -> bool {
        self.reply_within(PATIENCE, to, reply, receipt)
    }

    /// Sends a reply as [`Self::reply`] does. If it cannot be published for that long, it is
    /// outdated: its request is requeued, to be answered anew.
    #[must_use]
    pub fn reply_within(
        &self,
        valid_for: Duration,
        to: ReplyTo,
        reply: Encoded,
        receipt: Option<Receipt>,
    ) -> bool {
        let pending = Box::new(PendingReply {
            to,
            reply,
            receipt,
            at: Instant::now(),
            valid_for: valid_for.min(PATIENCE),
            losses: 0,
        });
        let bytes = pending.bytes();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused = if before + bytes > MAX_BYTES {
            Some(pending)
        } else {
            match self.jobs.send(Job::Reply(pending)) {
                Err(mpsc::error::SendError(Job::Reply(pending))) => Some(pending),
                _ => None,
            }
        };
        let Some(pending) = refused else { return true };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(receipt) = &pending.receipt {
            receipt.release();
        }
        false
    }

    /// Waits until every reply sent so far is confirmed or dropped, at most 5 s.
    pub async fn flush(&self) {
        let (flushed, done) = oneshot::channel();
        if self.jobs.send(Job::Flush(flushed)).is_ok() {
            let _ = tokio::time::timeout(FLUSH_WITHIN, done).await;
        }
    }
}
