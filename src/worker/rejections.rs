//! Rejected messages: counted, logged, and published for operators.

use super::clock;
use crate::{
    broker::{Link, Names, OptionalPublisher},
    ops::BadInput,
    replica::Mono,
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
            limit: RateLimit::default(),
        }
    }

    /// Reopens the publisher if it is closed.
    pub(super) fn maintain(&mut self, link: &Link) {
        if let Some(error) = self.publisher.maintain(link) {
            tracing::warn!("cannot publish rejected messages; they are only counted: {error}");
        }
    }

    /// Counts, logs and publishes a rejection.
    pub(super) fn reject(
        &mut self,
        origin: Origin,
        message: &Message,
        problem: &Problem,
        link: &Link,
    ) {
        count(origin.source, problem.code);
        self.publish(origin, message, problem, link);
    }

    /// Publishes a rejection.
    pub(super) fn publish(
        &mut self,
        origin: Origin,
        message: &Message,
        problem: &Problem,
        link: &Link,
    ) {
        let now = clock::now();
        if !self.limit.allows(now.mono) {
            return;
        }
        let left_out = self.limit.left_out;
        let notice = wire::rejected(origin, message, problem, now.wall, left_out);
        self.limit.published(self.publisher.publish(&notice, link));
    }
}

/// Counts and logs a rejected message of a queue.
pub(super) fn count(source: &'static str, code: Code) {
    let code = code.as_str();
    BadInput { source, code }.emit(clock::ms() / 1_000);
}

/// Logs a rejected log entry. The replica counts it.
pub(super) fn log(code: Code) {
    let (source, code) = ("log", code.as_str());
    BadInput { source, code }.log(clock::ms() / 1_000);
}

/// A rate limit.
#[derive(Debug, Default)]
struct RateLimit {
    second: u64,
    allowed: u32,
    left_out: u64,
}

impl RateLimit {
    /// Returns whether one more may be published; counts it as left out otherwise.
    fn allows(&mut self, now: Mono) -> bool {
        let second = now.0 / 1_000_000;
        if self.second != second {
            self.second = second;
            self.allowed = 0;
        }
        let allowed = self.allowed < MOST_PER_SECOND;
        if allowed {
            self.allowed += 1;
        } else {
            self.left_out += 1;
        }
        allowed
    }

    /// Records whether a rejection was published, with the number of those left out before.
    const fn published(&mut self, published: bool) {
        if published {
            self.left_out = 0;
        } else {
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_beyond_the_rate_are_left_out_and_the_next_one_has_their_number() {
        let mut limit = RateLimit::default();
        let at = |ms: u64| Mono(ms * 1_000);
        let published = (0..50).filter(|n| {
            let allowed = limit.allows(at(5_000 + n));
            if allowed {
                limit.published(true);
            }
            allowed
        });
        assert_eq!(published.count(), 20);
        assert!(limit.allows(at(6_000)));
        assert_eq!(limit.left_out, 30);
        limit.published(false); // the exchange is missing
        assert!(limit.allows(at(6_001)));
        assert_eq!(limit.left_out, 31);
        limit.published(true);
        assert_eq!(limit.left_out, 0);
    }
}
