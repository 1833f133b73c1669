//! The task that sends a worker's replies, and counts and logs failures.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    broker::{ReplyEvent, ReplySender},
    ops::ReplyMetrics,
};

/// Interval of log lines about a persistent failure.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Sends replies until all senders are dropped.
pub(super) async fn run(mut sender: ReplySender) {
    let metrics = ReplyMetrics::new();
    let (mut lost, mut dropped) = (LogLimit::default(), LogLimit::default());
    while let Some(event) = sender.next().await {
        match event {
            ReplyEvent::Lost(error) => {
                metrics.reconnects.increment(1);
                if let Some(more) = lost.allows() {
                    tracing::warn!(more, "lost a connection for replies; reconnecting: {error}");
                }
            }
            ReplyEvent::Dropped(error) => {
                metrics.undeliverable.increment(1);
                if let Some(more) = dropped.allows() {
                    tracing::warn!(
                        more,
                        "dropped a reply: RabbitMQ closes the connection because of its address: {error}"
                    );
                }
            }
            ReplyEvent::Expired => {
                metrics.expired.increment(1);
                if let Some(more) = dropped.allows() {
                    tracing::warn!(more, "dropped a reply: RabbitMQ did not confirm it in time");
                }
            }
            ReplyEvent::Crowded => {
                metrics.crowded.increment(1);
                if let Some(more) = dropped.allows() {
                    tracing::warn!(
                        more,
                        "dropped a reply: too many replies had to be retried one by one"
                    );
                }
            }
        }
    }
}

/// A limit of one log line per second.
#[derive(Default)]
struct LogLimit {
    logged: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// Returns the number of lines left out before this one; `None` if this one is left out too.
    fn allows(&mut self) -> Option<u64> {
        if self.logged.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            self.left_out += 1;
            return None;
        }
        self.logged = Some(Instant::now());
        Some(std::mem::take(&mut self.left_out))
    }
}
