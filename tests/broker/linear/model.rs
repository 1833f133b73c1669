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

    pub const fn intersection(self, others: Self) -> Self {
        Self(self.0 & others.0)
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
    /// Whether it names all of these streams in `replace`.
    pub fn names(self, streams: Streams) -> bool {
        match self {
            Self::Init { replace, .. } => streams.without(replace) == Streams::NONE,
            Self::Stop(_) | Self::Batch(_) | Self::Status => streams == Streams::NONE,
        }
    }

    pub fn may_end_streams(self) -> bool {
        match self {
            Self::Init {
                limits,
                same,
                replace,
                ..
            } => same || limits.replace_oldest || replace != Streams::NONE,
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
    Opened { active: Streams, replaced: Streams },
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
    /// The active streams in the order of their starts, if any operation depends on it. Otherwise,
    /// the search has fewer states.
    order: Option<Order>,
}

/// Streams in the order of their starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Order {
    numbers: [u8; MOST_STREAMS],
    count: u8,
}

impl Order {
    const NONE: Self = Self {
        numbers: [0; MOST_STREAMS],
        count: 0,
    };

    fn numbers(&self) -> impl Iterator<Item = usize> {
        let started = &self.numbers[..usize::from(self.count)];
        started.iter().map(|number| usize::from(*number))
    }

    fn of(numbers: impl Iterator<Item = usize>) -> Self {
        let mut order = Self::NONE;
        for number in numbers {
            order.numbers[usize::from(order.count)] = u8::try_from(number).expect("at most 64");
            order.count += 1;
        }
        order
    }
}

impl State {
    /// The state before the first operation.
    pub fn before(history: &[Operation]) -> Self {
        let depends = |operation: &Operation| match operation.call {
            Call::Init { limits, .. } => limits.replace_oldest,
            Call::Stop(_) | Call::Batch(_) | Call::Status => false,
        };
        Self {
            order: history.iter().any(depends).then_some(Order::NONE),
            ..Self::default()
        }
    }

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
                let mut ending = replace;
                if same && !self.admitted.has(stream) {
                    let same = self.admitted.numbers();
                    let same = same.filter(|n| device(*n) == device(stream));
                    ending = ending.and(Streams::of(same)).without(Streams::of([stream]));
                }
                if let Some(reason) = self.refusal(stream, limits, ending) {
                    return (self, Answer::Refused(reason, self.active));
                }
                if limits.replace_oldest && !self.admitted.has(stream) {
                    let order = self.order.expect("an operation depends on it");
                    let others = order.numbers();
                    let others = others.filter(|n| *n != stream && !ending.has(*n));
                    let others: Vec<usize> = others.collect();
                    ending = ending.and(limits.ended(stream, &others, self.admitted));
                }
                let replaced = ending.intersection(self.active);
                let mut next = self.ended(ending).started(stream);
                next.admitted = next.admitted.with(stream);
                let active = next.active;
                (next, Answer::Opened { active, replaced })
            }
        }
    }

    fn event(self, event: Event) -> Self {
        match event {
            Event::Heartbeat(stream) if self.stopped.has(stream) => self,
            Event::Heartbeat(stream) => self.started(stream),
            Event::Stop(stream) => self.ended(Streams::of([stream])),
        }
    }

    fn started(mut self, stream: usize) -> Self {
        if !self.active.has(stream) {
            self.active = self.active.with(stream);
            let order = self.order;
            self.order = order.map(|order| Order::of(order.numbers().chain([stream])));
        }
        self
    }

    fn refusal(self, stream: usize, limits: Limits, replace: Streams) -> Option<RefusedReason> {
        if self.stopped.has(stream) {
            return Some(RefusedReason::Stopped);
        }
        if self.admitted.has(stream) || limits.replace_oldest {
            return None; // a retry, or others give way
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
            order: self.order.map(|order| {
                let numbers = order.numbers();
                Order::of(numbers.filter(|n| !streams.has(*n)))
            }),
        }
    }
}
