//! Rejected messages: counted, logged, and published for operators.

use super::clock;
use crate::{
    broker::{Connection, Names, OptionalPublisher},
    ops::{self, RateLimit},
    wire::{self, Code, Message, Origin, Problem},
};

/// Most rejections published per second, by each task of a worker.
const MOST_PER_SECOND: u32 = 20;

/// A publisher of rejections, rate-limited and without confirms.
pub(super) struct Rejections {
    publisher: OptionalPublisher,
    limit: RateLimit,
}

impl Rejections {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            publisher: OptionalPublisher::new(&names.rejected()),
            limit: RateLimit::new(MOST_PER_SECOND),
        }
    }

    /// Reopens the publisher if it is closed.
    pub(super) fn maintain(&mut self, connection: &Connection) {
        if let Some(error) = self.publisher.maintain(connection) {
            tracing::warn!(
                "cannot publish rejected messages: {error}; they are only counted until it succeeds"
            );
        }
    }

    /// Counts, logs and publishes a rejection.
    pub(super) fn reject(
        &mut self,
        origin: Origin,
        message: &Message,
        problem: &Problem,
        connection: &Connection,
    ) {
        count(origin.source, problem.code);
        self.publish(origin, message, problem, connection);
    }

    pub(super) fn publish(
        &mut self,
        origin: Origin,
        message: &Message,
        problem: &Problem,
        connection: &Connection,
    ) {
        let now = clock::now();
        let Some(left_out) = self.limit.admit(now.mono.seconds()) else {
            return;
        };
        let notice = wire::rejected(origin, message, problem, now.wall, left_out);
        self.limit
            .published(self.publisher.publish(&notice, connection));
    }
}

/// Counts and logs a rejected message of a queue.
pub(super) fn count(source: &'static str, code: Code) {
    ops::count_bad_input(source, code.as_str(), clock::mono().seconds());
}

/// Logs a rejected log entry. The replica counts it.
pub(super) fn log(code: Code) {
    ops::log_bad_input("log", code.as_str(), clock::mono().seconds());
}
