//! The worker's replies: sent, and what goes wrong counted and logged.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    broker::{ReplyEvent, ReplySender},
    ops::ReplyMetrics,
};

/// How often trouble that lasts is logged.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Sends replies until all that hand them over are gone.
pub(super) async fn run(mut sender: ReplySender) {
    let metrics = ReplyMetrics::new();
    let (mut lost, mut dropped) = (Ration::default(), Ration::default());
    while let Some(event) = sender.next().await {
        match event {
            ReplyEvent::Lost(error) => {
                metrics.reconnects.increment(1);
                if let Some(more) = lost.allows() {
                    tracing::warn!(
                        more,
                        "a connection for replies is lost, it opens again: {error}"
                    );
                }
            }
            ReplyEvent::Dropped(error) => {
                metrics.undeliverable.increment(1);
                if let Some(more) = dropped.allows() {
                    tracing::warn!(
                        more,
                        "dropped a reply whose address RabbitMQ fails at: {error}"
                    );
                }
            }
            ReplyEvent::Expired => {
                metrics.expired.increment(1);
                if let Some(more) = dropped.allows() {
                    tracing::warn!(
                        more,
                        "dropped a reply that RabbitMQ did not confirm in time"
                    );
                }
            }
            ReplyEvent::Crowded => {
                metrics.crowded.increment(1);
                if let Some(more) = dropped.allows() {
                    tracing::warn!(
                        more,
                        "dropped a reply: too many unknown addresses wait to be tried"
                    );
                }
            }
        }
    }
}

/// One log line a second.
#[derive(Default)]
struct Ration {
    logged: Option<Instant>,
    left_out: u64,
}

impl Ration {
    /// How many lines were left out before this one; `None` if it is left out too.
    fn allows(&mut self) -> Option<u64> {
        if self.logged.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            self.left_out += 1;
            return None;
        }
        self.logged = Some(Instant::now());
        Some(std::mem::take(&mut self.left_out))
    }
}
