//! A log's time as the soak reads it for itself: by the rule of the design, not by the code that
//! it checks.

/// A moment by the machine's clock, which the workers share: milliseconds since 1970.
pub type Wall = i64;

pub fn now() -> Wall {
    streamwatch::worker::wall().0
}

/// How a log's time was moved once.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// When the entry was written that moved it; never earlier than those before.
    written: Wall,
    /// When it was read: it was in the log before that.
    seen: Wall,
    /// Log time behind it, in milliseconds.
    now: i64,
    ttl: i64,
}

/// The whole past of one log's time.
#[derive(Debug, Default)]
pub struct LogTime {
    steps: Vec<Step>,
    settings: u64,
    ttl: i64,
    /// How much further log time was, at most, than time itself, since the log began.
    ahead: i64,
    /// The most that log time has been behind time.
    behind: Option<i64>,
}

/// A worker's clocks in an entry of its own.
#[derive(Clone, Copy, Debug)]
pub struct Said {
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
    /// New settings, or those in force repeated.
    pub fn settings(&mut self, number: u64, ttl: i64, written: Wall) {
        if number > self.settings {
            (self.settings, self.ttl) = (number, ttl);
            self.step(self.now(), written);
        }
    }

    /// An entry that carries time.
    pub fn apply(&mut self, said: Said) {
        let now = self.now();
        let most = now + 2 * interval(self.ttl);
        self.step(now.max(said.estimate.min(most)), said.wall);
    }

    pub fn now(&self) -> i64 {
        self.steps.last().map_or(0, |step| step.now)
    }

    /// Everything that was written before this has been read.
    pub fn known_until(&self) -> Wall {
        self.steps.last().map_or(Wall::MIN, |step| step.written)
    }

    /// How far log time was ahead of time, at most, in milliseconds.
    pub const fn ahead(&self) -> i64 {
        self.ahead
    }

    fn step(&mut self, to: i64, written: Wall) {
        // An entry may come later than others that were written after it.
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

    /// The last step that surely was in the log at `at`.
    fn before(&self, at: Wall) -> usize {
        let after = self.steps.partition_point(|step| step.seen <= at);
        after.saturating_sub(1)
    }

    /// The first step that surely was not in the log at `at`.
    fn after(&self, at: Wall) -> usize {
        let first = self.steps.partition_point(|step| step.written < at);
        first.min(self.steps.len().saturating_sub(1))
    }

    fn ttls(&self, from: Wall, until: Wall) -> impl Iterator<Item = i64> {
        let steps = &self.steps[self.before(from)..=self.after(until)];
        steps.iter().map(|step| step.ttl)
    }

    /// At most so much log time has passed between two moments; entries of the time between
    /// `from` and `noted` have this TTL at least.
    pub fn at_most(&self, from: Wall, noted: Wall, until: Wall) -> Option<Span> {
        let last = self.steps.get(self.after(until))?;
        Some(Span {
            passed: last.now - self.steps[self.before(from)].now,
            ttl: self.ttls(from, noted).min()?,
        })
    }

    /// At least so much log time has passed between `noted` and `until`; entries that were written
    /// from `from` until `noted` have this TTL at most.
    pub fn at_least(&self, from: Wall, noted: Wall, until: Wall) -> Option<Span> {
        let first = self.steps.get(self.after(noted))?;
        Some(Span {
            passed: self.steps[self.before(until)].now - first.now,
            ttl: self.ttls(from, noted).max()?,
        })
    }

    /// Log time between two moments, as precisely as it was observed.
    pub fn between(&self, from: Wall, until: Wall) -> i64 {
        let at = |moment| self.steps.get(self.after(moment)).map_or(0, |s| s.now);
        at(until) - at(from)
    }
}
