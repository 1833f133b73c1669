//! A second implementation of log time, independent of the code under test.

/// A time by the machine's clock, which the workers share, in milliseconds since 1970.
pub type Wall = i64;

pub fn now() -> Wall {
    streamwatch::worker::wall().0
}

/// One step of a log's time.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Time of appending of its entry, not before that of earlier steps.
    written: Wall,
    /// Time of reading of its entry.
    seen: Wall,
    /// Log time after it, in milliseconds.
    now: i64,
    ttl: i64,
}

/// The history of one log's time.
#[derive(Debug, Default)]
pub struct LogTime {
    steps: Vec<Step>,
    settings: u64,
    ttl: i64,
    /// Largest lead of log time over time since the log began, in milliseconds.
    ahead: i64,
    /// Largest delay of log time behind time, in milliseconds.
    behind: Option<i64>,
}

/// A worker's clocks in one of its entries.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub estimate: i64,
    pub wall: Wall,
}

/// A span of time, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Log time that has passed, in milliseconds.
    pub passed: i64,
    /// The TTL that was in force at its beginning.
    pub ttl: i64,
}

const fn interval(ttl: i64) -> i64 {
    if ttl / 20 < 1_000 { ttl / 20 } else { 1_000 }
}

/// How long a stream may count in log time, in milliseconds: the TTL and two intervals.
pub const fn counts_for(ttl: i64) -> i64 {
    ttl + 2 * interval(ttl)
}

impl LogTime {
    /// Applies new or repeated settings.
    pub fn settings(&mut self, number: u64, ttl: i64, written: Wall) {
        if number > self.settings {
            (self.settings, self.ttl) = (number, ttl);
            self.step(self.now(), written);
        }
    }

    /// Applies an entry that contains a reading of clocks.
    pub fn apply(&mut self, output: Reading) {
        let now = self.now();
        let most = now + 2 * interval(self.ttl);
        self.step(now.max(output.estimate.min(most)), output.wall);
    }

    pub fn now(&self) -> i64 {
        self.steps.last().map_or(0, |step| step.now)
    }

    /// All entries appended before this time have been read.
    pub fn known_until(&self) -> Wall {
        self.steps.last().map_or(Wall::MIN, |step| step.written)
    }

    /// Largest lead of log time over time, in milliseconds.
    pub const fn ahead(&self) -> i64 {
        self.ahead
    }

    fn step(&mut self, to: i64, written: Wall) {
        // Entries may be in another order than their times of appending.
        let written = written.max(self.known_until());
        let lag = written - to;
        let behind = self.behind.map_or(lag, |most| most.max(lag));
        self.ahead = self.ahead.max(behind - lag);
        self.behind = Some(behind);
        self.steps.push(Step {
            written,
            seen: now(),
            now: to,
            ttl: self.ttl,
        });
    }

    /// The last step that was certainly in the log at `at`.
    fn before(&self, at: Wall) -> usize {
        let after = self.steps.partition_point(|step| step.seen <= at);
        after.saturating_sub(1)
    }

    /// The first step that was certainly not in the log at `at`.
    fn after(&self, at: Wall) -> usize {
        let first = self.steps.partition_point(|step| step.written < at);
        first.min(self.steps.len().saturating_sub(1))
    }

    fn ttls(&self, from: Wall, until: Wall) -> impl Iterator<Item = i64> {
        let steps = &self.steps[self.before(from)..=self.after(until)];
        steps.iter().map(|step| step.ttl)
    }

    /// Upper bound of the log time between `from` and `until`, and lower bound of the TTL of entries
    /// between `from` and `noted`.
    pub fn at_most(&self, from: Wall, noted: Wall, until: Wall) -> Option<Span> {
        let last = self.steps.get(self.after(until))?;
        Some(Span {
            passed: last.now - self.steps[self.before(from)].now,
            ttl: self.ttls(from, noted).min()?,
        })
    }

    /// Lower bound of the log time between `noted` and `until`, and upper bound of the TTL of entries
    /// between `from` and `noted`.
    pub fn at_least(&self, from: Wall, noted: Wall, until: Wall) -> Option<Span> {
        let first = self.steps.get(self.after(noted))?;
        Some(Span {
            passed: self.steps[self.before(until)].now - first.now,
            ttl: self.ttls(from, noted).max()?,
        })
    }

    /// Log time between two times, as precisely as it was observed.
    pub fn between(&self, from: Wall, until: Wall) -> i64 {
        let at = |moment| self.steps.get(self.after(moment)).map_or(0, |s| s.now);
        at(until) - at(from)
    }
}
