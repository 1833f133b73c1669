//! The task that sends a worker's replies, and counts and logs failures.

use super::clock;
use crate::{
    broker::{ReplyEvent, ReplySender},
    ops::{RateLimit, ReplyMetrics},
};

/// Most log lines per second about a persistent failure.
const LINES_PER_SECOND: u32 = 1;

/// Sends replies until all senders are dropped.
pub(super) async fn run(mut sender: ReplySender) {
    let metrics = ReplyMetrics::new();
    let limit = || RateLimit::new(LINES_PER_SECOND);
    let now_s = || clock::mono().seconds();
    let (mut lost, mut dropped) = (limit(), limit());
    while let Some(event) = sender.next().await {
        match event {
            ReplyEvent::Lost(error) => {
                metrics.reconnects.increment(1);
                if let Some(more) = lost.admit_line(now_s()) {
                    tracing::warn!(more, "lost a connection for replies; reconnecting: {error}");
                }
            }
            ReplyEvent::Dropped(error) => {
                metrics.undeliverable.increment(1);
                if let Some(more) = dropped.admit_line(now_s()) {
                    tracing::warn!(
                        more,
                        "dropped a reply: RabbitMQ closes the connection because of its reply_to: {error}"
                    );
                }
            }
            ReplyEvent::Expired => {
                metrics.expired.increment(1);
                if let Some(more) = dropped.admit_line(now_s()) {
                    tracing::warn!(more, "dropped a reply: RabbitMQ did not confirm it in time");
                }
            }
            ReplyEvent::Crowded => {
                metrics.crowded.increment(1);
                if let Some(more) = dropped.admit_line(now_s()) {
                    tracing::warn!(
                        more,
                        "dropped a reply: too many replies had to be retried one by one"
                    );
                }
            }
        }
    }
}
