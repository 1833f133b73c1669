//! A sequential model of one account, and its operations.

use std::fmt;
use std::time::Duration;

use streamwatch::client::RefusedReason;

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

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.numbers().map(|number| format!("s{number}")).collect();
        write!(f, "{{{}}}", all.join(" "))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Init {
        stream: usize,
        max_active: Option<u32>,
        replace: Streams,
    },
    Stop(usize),
    /// Two events, which take effect at one moment, in this order.
    Batch([Event; 2]),
    Status,
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
    /// Returns whether the operation has no effect.
    pub const fn is_a_read(&self) -> bool {
        let refused = matches!(self.answered, Some((_, Answer::Refused(..))));
        refused || matches!(self.call, Call::Status)
    }
}

/// The state of an account. Streams do not expire, and ended streams stay ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub active: Streams,
    /// The active streams that an `init` opened. The others were started by heartbeats.
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
                max_active,
                replace,
            } => {
                if let Some(reason) = self.refusal(stream, max_active, replace) {
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

    fn refusal(
        self,
        stream: usize,
        max_active: Option<u32>,
        replace: Streams,
    ) -> Option<RefusedReason> {
        if self.stopped.has(stream) {
            return Some(RefusedReason::Stopped);
        }
        if self.admitted.has(stream) {
            return None; // a retry
        }
        let with_it = self.active.without(replace).with(stream).count();
        let too_many = max_active.is_some_and(|max| with_it > max);
        too_many.then_some(RefusedReason::MaxActive)
    }

    fn ended(self, streams: Streams) -> Self {
        Self {
            active: self.active.without(streams),
            admitted: self.admitted.without(streams),
            stopped: self.stopped.and(streams),
        }
    }
}

/// ` 12.345 –  14.001 ms  c3  init s4, at most 2, replacing {s1} → opened {s2 s4}`
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |at: Duration| format!("{:.3}", at.as_secs_f64() * 1e3);
        let until = self.answered.map_or_else(String::new, |(at, _)| ms(at));
        let (from, client) = (ms(self.invoked), self.client);
        write!(f, "{from:>9} – {until:>9} ms  c{client}  {}", self.call)?;
        match self.answered {
            Some((_, answer)) => write!(f, " → {answer}")?,
            None => f.write_str(" → no answer yet")?,
        }
        let note = if self.repeated {
            "  (a worker died)"
        } else {
            ""
        };
        f.write_str(note)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Stop(stream) => write!(f, "stop s{stream}"),
            Self::Batch([first, second]) => write!(f, "batch of {first} and {second}"),
            Self::Init {
                stream,
                max_active,
                replace,
            } => {
                write!(f, "init s{stream}")?;
                if let Some(max) = max_active {
                    write!(f, ", at most {max}")?;
                }
                if replace.count() > 0 {
                    write!(f, ", replacing {replace}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat(stream) => write!(f, "heartbeat s{stream}"),
            Self::Stop(stream) => write!(f, "stop s{stream}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(streams) => write!(f, "opened {streams}"),
            Self::Refused(reason, streams) => write!(f, "refused, {reason:?} {streams}"),
            Self::Confirmed => f.write_str("confirmed"),
            Self::Active(streams) => write!(f, "active {streams}"),
        }
    }
}
