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

/// The device of a stream, by which devices are counted.
pub const fn device(stream: usize) -> usize {
    stream % DEVICES
}

pub const DEVICES: usize = 4;

/// Whether a stream is live. The others are trailers.
pub const fn is_live(stream: usize) -> bool {
    !(stream / DEVICES).is_multiple_of(3)
}

/// The limits of an `init`: `max_active`, or others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub max_active: Option<u32>,
    /// The most devices, and the most live streams.
    pub devices: Option<u32>,
    pub live: Option<u32>,
}

impl Limits {
    pub const NONE: Self = Self {
        max_active: None,
        devices: None,
        live: None,
    };

    pub const fn at_most(max: u32) -> Self {
        Self {
            max_active: Some(max),
            ..Self::NONE
        }
    }

    pub const fn of_devices(max: u32) -> Self {
        Self {
            devices: Some(max),
            ..Self::NONE
        }
    }

    pub const fn of_live(max: u32) -> Self {
        Self {
            live: Some(max),
            ..Self::NONE
        }
    }

    /// The reason for refusing a stream beyond one of them.
    pub const fn reason(self) -> RefusedReason {
        match self.max_active {
            Some(_) => RefusedReason::MaxActive,
            None => RefusedReason::Limits,
        }
    }

    /// Whether a new stream beside others would be one too many. Streams that heartbeats started
    /// have no metadata: each is a device of its own, and not live.
    pub fn are_exceeded(self, stream: usize, others: Streams, with_metadata: Streams) -> bool {
        let known = others.numbers().filter(|n| with_metadata.has(*n));
        let known: Vec<usize> = known.chain([stream]).collect();
        let mut devices: Vec<usize> = known.iter().map(|n| device(*n)).collect();
        devices.sort_unstable();
        devices.dedup();
        let devices = devices.len() + others.without(with_metadata).count() as usize;
        let live = known.iter().filter(|n| is_live(**n)).count();
        let exceeded = |count: usize, max: Option<u32>| max.is_some_and(|max| count > max as usize);
        exceeded(others.count() as usize + 1, self.max_active)
            || exceeded(devices, self.devices)
            || (is_live(stream) && exceeded(live, self.live))
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
                limits,
                same,
                replace,
            } => {
                write!(f, "init s{stream}")?;
                if let Some(max) = limits.max_active {
                    write!(f, ", at most {max}")?;
                }
                if let Some(max) = limits.devices {
                    write!(f, ", at most {max} devices")?;
                }
                if let Some(max) = limits.live {
                    write!(f, ", at most {max} live")?;
                }
                if *same {
                    f.write_str(", instead of its device")?;
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
