//! Log entries from the broker to the replica.

use super::{BATCH, End, Session, broker_clock};
use crate::{
    broker::{LogDelivery, LogEntry},
    domain::{Entry, HeartbeatOutcome, Settings, StreamId},
    replica::{Applied, Now},
    wire::{self, Message, Origin, Problem},
    worker::{clock, rejections},
};

impl Session<'_> {
    /// Applies an entry and those delivered after it. Returns whether none is left.
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
        // Read for each entry: freshness must not be judged by a time before the last apply.
        let now = clock::now();
        let delivery = match entry {
            LogEntry::Delivered(delivery) => delivery,
            LogEntry::Undeliverable(offset) => return self.undeliverable(*offset, now),
        };
        let message = self.routed(delivery.message());
        match wire::entry(&message) {
            Ok(entry) => {
                self.learn_broker_clock(&entry, delivery);
                let applied = self.partition.replica.apply(delivery.offset, &entry, now)?;
                if let (Applied::Heartbeat(outcome), Entry::Heartbeat { stream, .. }) =
                    (&applied, &entry)
                    && let Some(reply) =
                        heartbeat_reply(*stream, *outcome, self.partition.replica.settings())
                {
                    self.reply(delivery, || reply);
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
                // Every replica reads the entry; only the leader publishes the rejection.
                if self.partition.replica.leads() {
                    self.rejections
                        .publish(origin, &message, &problem, &self.publish);
                }
                self.reply(delivery, || wire::error(&problem));
            }
        }
        Ok(())
    }

    fn learn_broker_clock(&mut self, entry: &Entry, delivery: &LogDelivery) {
        if self.partition.replica.wrote(entry)
            && let Some(appended) = broker_clock::appended(entry)
            && let Some(received) = delivery.received()
        {
            self.broker_clock.learn(appended, received);
        }
    }

    /// Skips an entry that RabbitMQ cannot deliver, as every replica does.
    fn undeliverable(&mut self, offset: u64, now: Now) -> Result<(), End> {
        let problem = Problem::undeliverable();
        self.partition
            .replica
            .pass_over(offset, problem.code.number(), now)?;
        tracing::warn!(
            partition = self.partition.number,
            offset,
            "skipping an entry that RabbitMQ cannot deliver"
        );
        // Every replica skips the entry; only the leader publishes the rejection.
        if self.partition.replica.leads() {
            let origin = Origin {
                source: "log",
                offset: Some(offset),
            };
            self.rejections
                .publish(origin, &Message::default(), &problem, &self.publish);
        }
        Ok(())
    }

    /// Replies to the sender of an entry, if this replica leads.
    fn reply(&mut self, delivery: &LogDelivery, reply: impl FnOnce() -> wire::Encoded) {
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
fn heartbeat_reply(
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
