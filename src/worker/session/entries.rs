//! Entries of the log, on their way from the broker into the replica.

use super::{BATCH, End, Session};
use crate::{
    broker::{LogDelivery, LogEntry},
    domain::{Entry, HeartbeatOutcome, Settings, StreamId},
    replica::{Applied, Now},
    wire::{self, Message, Origin, Problem},
    worker::{clock, rejections},
};

impl Session<'_> {
    /// Applies an entry and those that have been delivered behind it. Returns whether none is left.
    pub(super) fn entries(&mut self, first: LogEntry) -> Result<bool, End> {
        let mut entry = Some(first);
        for _ in 0..BATCH {
            let Some(taken) = entry else {
                return Ok(true);
            };
            self.entry(&taken)?;
            entry = self.log.try_next()?;
        }
        if let Some(last) = entry {
            self.entry(&last)?;
        }
        Ok(false)
    }

    fn entry(&mut self, entry: &LogEntry) -> Result<(), End> {
        // Read for each: freshness is not judged by a time from before the last one was applied.
        let now = clock::now();
        let delivery = match entry {
            LogEntry::Delivered(delivery) => delivery,
            LogEntry::Undeliverable(offset) => return self.undeliverable(*offset, now),
        };
        let message = self.seen(delivery.message());
        match wire::entry(&message) {
            Ok(entry) => {
                let applied = self.partition.replica.apply(delivery.offset, &entry, now)?;
                if let (Applied::Heartbeat(outcome), Entry::Heartbeat { stream, .. }) =
                    (&applied, &entry)
                    && let Some(news) = news(*stream, *outcome, self.partition.replica.settings())
                {
                    self.tell(delivery, || news);
                }
            }
            Err(problem) => {
                self.partition
                    .replica
                    .skip(delivery.offset, problem.code.number(), now)?;
                let origin = Origin {
                    source: "log",
                    offset: Some(delivery.offset),
                };
                rejections::log(problem.code);
                // Every replica reads it; only the leader publishes it.
                if self.partition.replica.leads() {
                    self.rejections
                        .tell(origin, &message, &problem, &self.publish);
                }
                self.tell(delivery, || wire::error(&problem));
            }
        }
        Ok(())
    }

    /// RabbitMQ cannot deliver the entry: it has its place and no effect, on every replica.
    fn undeliverable(&mut self, offset: u64, now: Now) -> Result<(), End> {
        let problem = Problem::undeliverable();
        self.partition
            .replica
            .pass_over(offset, problem.code.number(), now)?;
        tracing::warn!(
            partition = self.partition.number,
            offset,
            "passing over an entry that RabbitMQ cannot deliver"
        );
        // Every replica skips it; only the leader publishes it.
        if self.partition.replica.leads() {
            let origin = Origin {
                source: "log",
                offset: Some(offset),
            };
            self.rejections
                .tell(origin, &Message::default(), &problem, &self.publish);
        }
        Ok(())
    }

    /// Answers the sender of an entry, for all replicas.
    fn tell(&mut self, delivery: &LogDelivery, reply: impl FnOnce() -> wire::Encoded) {
        if !self.partition.replica.leads() {
            return;
        }
        let to = match delivery.reply_to(&self.requests.names) {
            Ok(to) => to,
            Err(none) => {
                if let Some(problem) = none.problem() {
                    let origin = Origin {
                        source: "log",
                        offset: Some(delivery.offset),
                    };
                    let message = delivery.message();
                    self.rejections
                        .reject(origin, &message, &problem, &self.publish);
                }
                return;
            }
        };
        if self.publish.is_blocked() || !self.requests.replies.reply(to, reply(), None) {
            self.partition.metrics.replies_blocked.increment(1);
        }
    }
}

/// Returns the reply to a heartbeat, if one is needed.
fn news(
    stream: StreamId,
    outcome: HeartbeatOutcome,
    settings: Option<&Settings>,
) -> Option<wire::Encoded> {
    match outcome {
        HeartbeatOutcome::Stopped(reason) => Some(wire::stopped(stream, reason)),
        HeartbeatOutcome::Refreshed { outdated: true }
        | HeartbeatOutcome::Started { outdated: true } => {
            settings.map(|s| wire::interval(stream, s.heartbeat_every_ms, s.ttl_ms))
        }
        HeartbeatOutcome::Refreshed { outdated: false }
        | HeartbeatOutcome::Started { outdated: false }
        | HeartbeatOutcome::Dropped(_) => None,
    }
}
