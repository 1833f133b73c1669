//! A reply that is not confirmed yet.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    broker::{
        Receipt,
        direct::Process,
        ids::AmqpId,
        reply_to::{ReplyRoute, ReplyTo},
    },
    wire::Encoded,
};

/// Memory of a reply in addition to its body and its correlation id, in bytes.
const REPLY_BYTES: usize = 512;

pub(super) struct PendingReply {
    pub(super) to: ReplyTo,
    pub(super) reply: Encoded,
    pub(super) receipt: Option<Receipt>,
    pub(super) at: Instant,
    /// Time from `at` on for which it may be published.
    pub(super) valid_for: Duration,
    pub(super) losses: u8,
}

impl PendingReply {
    pub(super) fn process(&self) -> Option<Process> {
        match &self.to.route {
            ReplyRoute::Queue { name, .. } => Process::of(name.as_str()),
            ReplyRoute::Topic(_) => None,
        }
    }

    pub(super) fn is_late(&self) -> bool {
        self.at.elapsed() >= self.valid_for
    }

    pub(super) fn bytes(&self) -> usize {
        let correlation = match &self.to.route {
            ReplyRoute::Queue { correlation, .. } => correlation.as_ref().map_or(0, AmqpId::len),
            ReplyRoute::Topic(_) => 0,
        };
        self.reply.body.len() + correlation + REPLY_BYTES
    }
}
