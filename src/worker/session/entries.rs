//! Log entries from the broker to the replica.

use super::{MOST_APPLIED, Session, SessionError, broker_clock};
use crate::{
    broker::{LogDelivery, LogEntry},
    domain::{Batch, Entry, HeartbeatOutcome, PlayerEvent},
    replica::{Applied, Now},
    wire::{self, Code, EventNews, Message, News, Origin, Problem},
    worker::{clock, rejections},
};

impl Session<'_> {
    /// Applies an entry and those delivered after it. Returns whether none is left.
    pub(super) fn entries(&mut self, first: LogEntry) -> Result<bool, SessionError> {
        let mut applied = self.entry(&first)?;
        while let Some(entry) = self.log.try_next()? {
            applied += self.entry(&entry)?;
            if applied > MOST_APPLIED {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Applies an entry. Returns the number of its events: 1 unless it is a batch.
    fn entry(&mut self, entry: &LogEntry) -> Result<usize, SessionError> {
        // Read for each entry: freshness must not be judged by a time before the last apply.
        let now = clock::now();
        let delivery = match entry {
            LogEntry::Delivered(delivery) => delivery,
            LogEntry::Undeliverable(offset) => {
                return self.undeliverable(*offset, now).map(|()| 1);
            }
        };
        let message = self.routed(delivery.message());
        let (number, partitions) = (self.partition.number, self.partition.partitions);
        let problem = match wire::entry(&message) {
            Ok(Entry::Batch(batch)) if !batch.is_for(number, partitions) => {
                Problem::wrong_partition()
            }
            Ok(entry) => {
                self.learn_broker_clock(&entry, delivery);
                let applied = self.partition.replica.apply(delivery.offset, &entry, now)?;
                if let (Entry::Batch(batch), Applied::Batch(outcomes)) = (&entry, &applied) {
                    self.batch_news(delivery, batch, outcomes);
                    return Ok(outcomes.len().max(1));
                }
                self.entry_news(delivery, &entry, &applied);
                return Ok(1);
            }
            Err(problem) => problem,
        };
        self.partition
            .replica
            .skip(delivery.offset, problem.code.number(), now)?;
        rejections::log(problem.code);
        self.publish_rejection(Origin::log(delivery.offset), &message, &problem);
        self.reply(delivery, || wire::error(&problem));
        Ok(1)
    }

    /// Reports the problem of a heartbeat or a stop that was applied, and replies with its bad news.
    fn entry_news(&mut self, delivery: &LogDelivery, entry: &Entry, applied: &Applied) {
        let Entry::Player { event, .. } = entry else {
            return;
        };
        let problem = Ignored::of(event, applied);
        let problem = problem.map(|problem| problem.describe(&delivery.message(), None));
        if let Some(problem) = &problem {
            let message = self.routed(delivery.message());
            rejections::log(problem.code);
            self.publish_rejection(Origin::log(delivery.offset), &message, problem);
        }
        let news = self.news(event, applied);
        let news = news.or_else(|| problem.map(|error| News::Error { error }));
        if let Some(news) = news {
            self.reply(delivery, || news.encode());
        }
    }

    /// Reports the rejected events of a batch, and replies with the bad news of all its events.
    fn batch_news(&mut self, delivery: &LogDelivery, batch: &Batch, outcomes: &[Applied]) {
        for reason in batch.rejected() {
            rejections::log(Code::ALL[*reason]);
        }
        let mut problems: Vec<(u16, Ignored)> = Vec::new();
        for (event, outcome) in batch.events().iter().zip(outcomes) {
            if let Some(problem) = Ignored::of(&event.event, outcome) {
                rejections::log(problem.code());
                problems.push((event.index, problem));
            }
        }
        if !self.partition.replica.leads() {
            return;
        }
        let message = self.routed(delivery.message());
        let mut errors = Vec::new();
        if !batch.rejected().is_empty() {
            errors = wire::rejected_events(&message).unwrap_or_default();
        }
        let described = problems.into_iter();
        errors.extend(described.map(|(index, it)| (index, it.describe(&message, Some(index)))));
        let mut all: Vec<EventNews> = Vec::new();
        for (event, outcome) in batch.events().iter().zip(outcomes) {
            if let Some(news) = self.news(&event.event, outcome) {
                let index = event.index;
                all.push(EventNews { index, news });
            }
        }
        for (index, error) in errors {
            let origin = Origin::log(delivery.offset).of_event(index);
            self.publish_rejection(origin, &message, &error);
            // One event has one news.
            if all.iter().all(|one| one.index != index) {
                let news = News::Error { error };
                all.push(EventNews { index, news });
            }
        }
        if !all.is_empty() {
            all.sort_unstable_by_key(|one| one.index);
            self.reply(delivery, || wire::batch_reply(&all));
        }
    }

    /// Publishes the rejection of an entry for operators. Every replica reads the entry, so only the
    /// leader publishes it.
    fn publish_rejection(&mut self, origin: Origin, message: &Message, problem: &Problem) {
        if self.partition.replica.leads() {
            self.rejections
                .publish(origin, message, problem, &self.publish);
        }
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
    fn undeliverable(&mut self, offset: u64, now: Now) -> Result<(), SessionError> {
        let problem = Problem::undeliverable();
        self.partition
            .replica
            .skip_entry(offset, problem.code.number(), now)?;
        tracing::warn!(
            partition = self.partition.number,
            offset,
            "skipping an entry that RabbitMQ cannot deliver"
        );
        self.publish_rejection(Origin::log(offset), &Message::default(), &problem);
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
                    let origin = Origin::log(delivery.offset);
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

    /// Returns the bad news for the sender of an event, if it is a heartbeat that has any.
    fn news(&self, event: &PlayerEvent, applied: &Applied) -> Option<News> {
        let Applied::Heartbeat(outcome) = applied else {
            return None;
        };
        let stream = event.stream()?;
        match outcome {
            HeartbeatOutcome::Stopped(cause) => Some(News::Stopped {
                stream,
                cause: cause.clone(),
            }),
            HeartbeatOutcome::Refreshed { outdated: true, .. }
            | HeartbeatOutcome::Started { outdated: true, .. } => {
                let settings = self.partition.replica.settings()?;
                Some(News::Interval {
                    stream,
                    heartbeat_every_ms: settings.heartbeat_every_ms,
                    ttl_ms: settings.ttl_ms,
                })
            }
            HeartbeatOutcome::Refreshed { .. }
            | HeartbeatOutcome::Started { .. }
            | HeartbeatOutcome::Dropped(_) => None,
        }
    }
}

/// The part of a valid message that was ignored.
#[derive(Clone, Copy)]
enum Ignored {
    /// A field; the event counts.
    Field,
    /// The event, which uses this field of newer rules.
    Event(&'static str),
}

impl Ignored {
    /// The ignored part of a heartbeat or a stop that was applied, if there is one.
    fn of(event: &PlayerEvent, applied: &Applied) -> Option<Self> {
        match applied {
            Applied::OldRules(field) => Some(Self::Event(field)),
            Applied::Heartbeat(outcome) if outcome.ignores_metadata() => Some(Self::Field),
            Applied::Stop(_) if event.ignores_reason() => Some(Self::Field),
            _ => None,
        }
    }

    const fn code(self) -> Code {
        match self {
            Self::Field => Code::BadField,
            Self::Event(_) => Code::OldRules,
        }
    }

    /// Describes it for the sender. `index` is its position in a batch.
    fn describe(self, message: &Message, index: Option<u16>) -> Problem {
        match self {
            Self::Field => wire::ignored(message, index),
            Self::Event(field) => Problem::old_rules(field),
        }
    }
}
