//! Rejected messages: counted, logged, and published for operators.

use super::clock;
use crate::{
    broker::{Link, Names, OptionalPublisher},
    ops::BadInput,
    replica::Mono,
    wire::{self, Code, Message, Origin, Problem},
};

/// Most rejections published per second, by each task of a worker.
const A_SECOND: u32 = 20;

/// A publisher of rejections, rate-limited and without confirms.
pub(super) struct Rejections {
    outlet: OptionalPublisher,
    ration: Ration,
}

impl Rejections {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            outlet: OptionalPublisher::new(&names.rejected()),
            ration: Ration::default(),
        }
    }

    /// Opens the way out where it is not open.
    pub(super) fn maintain(&mut self, link: &Link) {
        if let Some(error) = self.outlet.maintain(link) {
            tracing::warn!("cannot publish rejected messages, which are only counted: {error}");
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
        self.tell(origin, message, problem, link);
    }

    /// Publishes a rejection.
    pub(super) fn tell(
        &mut self,
        origin: Origin,
        message: &Message,
        problem: &Problem,
        link: &Link,
    ) {
        let now = clock::now();
        if !self.ration.allows(now.mono) {
            return;
        }
        let left_out = self.ration.left_out;
        let notice = wire::rejected(origin, message, problem, now.wall, left_out);
        self.ration.told(self.outlet.publish(&notice, link));
    }
}

/// Counts and logs a message of a queue that was refused.
pub(super) fn count(source: &'static str, code: Code) {
    let code = code.as_str();
    BadInput { source, code }.emit(clock::ms() / 1_000);
}

/// Logs an entry of a log that was refused; the replica has counted it.
pub(super) fn log(code: Code) {
    let (source, code) = ("log", code.as_str());
    BadInput { source, code }.log(clock::ms() / 1_000);
}

/// A rate limit.
#[derive(Debug, Default)]
struct Ration {
    second: u64,
    told: u32,
    left_out: u64,
}

impl Ration {
    /// Returns whether one more may be published; counts it as left out otherwise.
    fn allows(&mut self, now: Mono) -> bool {
        let second = now.0 / 1_000_000;
        if self.second != second {
            self.second = second;
            self.told = 0;
        }
        let allowed = self.told < A_SECOND;
        if allowed {
            self.told += 1;
        } else {
            self.left_out += 1;
        }
        allowed
    }

    /// It went out, and with it how many did not; or it did not go out itself.
    const fn told(&mut self, went_out: bool) {
        if went_out {
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
        let mut ration = Ration::default();
        let at = |ms: u64| Mono(ms * 1_000);
        let told = (0..50).filter(|n| {
            let allowed = ration.allows(at(5_000 + n));
            if allowed {
                ration.told(true);
            }
            allowed
        });
        assert_eq!(told.count(), 20);
        assert!(ration.allows(at(6_000)));
        assert_eq!(ration.left_out, 30);
        ration.told(false); // the exchange is missing
        assert!(ration.allows(at(6_001)));
        assert_eq!(ration.left_out, 31);
        ration.told(true);
        assert_eq!(ration.left_out, 0);
    }
}
