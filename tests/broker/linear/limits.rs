//! The limits of `init`s, and the metadata that they count.

use streamwatch::client::RefusedReason;

use super::model::Streams;

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
    /// Whether the oldest streams in the way end, instead of a refusal.
    pub replace_oldest: bool,
}

/// The limits that a new stream exceeds.
#[derive(Clone, Copy, Debug)]
struct Exceeded {
    max_active: bool,
    devices: bool,
    live: bool,
}

impl Limits {
    pub const NONE: Self = Self {
        max_active: None,
        devices: None,
        live: None,
        replace_oldest: false,
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
        let exceeded = self.exceeded(stream, others, with_metadata);
        exceeded.max_active || exceeded.devices || exceeded.live
    }

    fn exceeded(self, stream: usize, others: Streams, with_metadata: Streams) -> Exceeded {
        let known = others.numbers().filter(|n| with_metadata.has(*n));
        let known: Vec<usize> = known.chain([stream]).collect();
        let mut devices: Vec<usize> = known.iter().map(|n| device(*n)).collect();
        devices.sort_unstable();
        devices.dedup();
        let devices = devices.len() + others.without(with_metadata).count() as usize;
        let live = known.iter().filter(|n| is_live(**n)).count();
        let above = |count: usize, max: Option<u32>| max.is_some_and(|max| count > max as usize);
        Exceeded {
            max_active: above(others.count() as usize + 1, self.max_active),
            devices: above(devices, self.devices),
            live: is_live(stream) && above(live, self.live),
        }
    }

    /// The streams that end for a new one, of others with the oldest first: each that counts toward
    /// an exceeded limit, but for those whose end is not needed.
    pub fn ended(self, stream: usize, others: &[usize], with_metadata: Streams) -> Streams {
        let all = Streams::of(others.iter().copied());
        let mut ended = Streams::NONE;
        for &n in others {
            let exceeded = self.exceeded(stream, all.without(ended), with_metadata);
            let known = with_metadata.has(n);
            let in_the_way = exceeded.max_active
                || (exceeded.devices && !(known && device(n) == device(stream)))
                || (exceeded.live && known && is_live(n));
            if in_the_way {
                ended = ended.with(n);
            }
        }
        for &n in others.iter().rev() {
            let fewer = ended.without(Streams::of([n]));
            if !self.are_exceeded(stream, all.without(fewer), with_metadata) {
                ended = fewer;
            }
        }
        ended
    }
}
