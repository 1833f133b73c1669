//! A sequential model of one account, and its operations.

use std::time::Duration;

use streamwatch::client::RefusedReason;

use super::limits::{Limits, device};

/// Most streams of one history, and most operations.
pub const MOST_STREAMS: usize = 64;
pub const MOST_OPERATIONS: usize = 128;

/// A set of streams, by their number in the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Streams(u64);

impl Streams {
    pub const NONE: Self = Self(0);

    pub fn of(numbers: impl IntoIterator<Item = usize>) -> Self {
        let mut all = Self::default();
        for number in numbers {
            assert!(number < MOST_STREAMS, "stream {number} is one too many");
            all.0 |= 1 << number;
        }
        all
    }

    pub const fn has(self, number: usize) -> bool {
        self.0 & 1 << number != 0
    }

    pub fn with(self, number: usize) -> Self {
        self.and(Self::of([number]))
    }

    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub fn numbers(self) -> impl Iterator<Item = usize> {
        (0..MOST_STREAMS).filter(move |&number| self.has(number))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Init {
        stream: usize,
        limits: Limits,
        /// Whether it ends the streams with metadata of the same device.
        same: bool,
        replace: Streams,
    },
    Stop(usize),
    /// Two events, which take effect at one moment, in this order.
    Batch([Event; 2]),
    Status,
}

impl Call {
    pub fn may_end_streams(self) -> bool {
        match self {
            Self::Init { same, replace, .. } => same || replace != Streams::NONE,
            Self::Stop(_) | Self::Batch(_) => true,
            Self::Status => false,
        }
    }
}

/// An event in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Heartbeat(usize),
    Stop(usize),
}

/// The answer to an operation; a confirm in case of a stop or a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Opened(Streams),
    Refused(RefusedReason, Streams),
    Confirmed,
    Active(Streams),
}

/// One call of one client, from its invocation to its answer.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub client: usize,
    pub call: Call,
    pub invoked: Duration,
    /// Without an answer, the operation may take effect at any later time, or never.
    pub answered: Option<(Duration, Answer)>,
    /// Whether a worker died meanwhile: an `init` may have been decided by it, and again by the
    /// worker that replied.
    pub repeated: bool,
}

impl Operation {
    /// Whether its answer is that of an operation without an effect.
    pub const fn is_a_read(&self) -> bool {
        let refused = matches!(self.answered, Some((_, Answer::Refused(..))));
        refused || matches!(self.call, Call::Status)
    }

    /// Whether it had no effect when it was decided first, either. An `init` that was refused because
    /// its stream had ended may have opened it before.
    pub const fn never_had_an_effect(&self) -> bool {
        let for_its_end = matches!(
            self.answered,
            Some((_, Answer::Refused(RefusedReason::Stopped, _)))
        );
        self.is_a_read() && !(self.repeated && for_its_end)
    }
}

/// The state of an account. Streams do not expire, and ended streams stay ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub active: Streams,
    /// The active streams that an `init` opened, with metadata. The others were started by
    /// heartbeats.
    admitted: Streams,
    stopped: Streams,
}

impl State {
    /// Returns the state after `call`, and the answer.
    pub fn after(self, call: Call) -> (Self, Answer) {
        match call {
            Call::Status => (self, Answer::Active(self.active)),
            Call::Stop(stream) => (self.ended(Streams::of([stream])), Answer::Confirmed),
            Call::Batch(events) => (
                events.into_iter().fold(self, Self::event),
                Answer::Confirmed,
            ),
            Call::Init {
                stream,
                limits,
                same,
                replace,
            } => {
                let mut replace = replace;
                if same && !self.admitted.has(stream) {
                    let same = self.admitted.numbers();
                    let same = same.filter(|n| device(*n) == device(stream));
                    replace = replace.and(Streams::of(same));
                }
                if let Some(reason) = self.refusal(stream, limits, replace) {
                    return (self, Answer::Refused(reason, self.active));
                }
                let mut next = self.ended(replace);
                next.active = next.active.with(stream);
                next.admitted = next.admitted.with(stream);
                (next, Answer::Opened(next.active))
            }
        }
    }

    fn event(mut self, event: Event) -> Self {
        match event {
            Event::Heartbeat(stream) if self.stopped.has(stream) => {}
            Event::Heartbeat(stream) => self.active = self.active.with(stream),
            Event::Stop(stream) => self = self.ended(Streams::of([stream])),
        }
        self
    }

    fn refusal(self, stream: usize, limits: Limits, replace: Streams) -> Option<RefusedReason> {
        if self.stopped.has(stream) {
            return Some(RefusedReason::Stopped);
        }
        if self.admitted.has(stream) {
            return None; // a retry
        }
        let others = self.active.without(replace).without(Streams::of([stream]));
        let exceeded = limits.are_exceeded(stream, others, self.admitted);
        exceeded.then_some(limits.reason())
    }

    fn ended(self, streams: Streams) -> Self {
        Self {
            active: self.active.without(streams),
            admitted: self.admitted.without(streams),
            stopped: self.stopped.and(streams),
        }
    }
}
