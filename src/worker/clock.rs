//! The machine's clocks. No other file of the worker reads them.

use crate::{
    clock::uptime,
    domain::WallTime,
    replica::{Mono, Now},
};

pub(super) fn now() -> Now {
    Now {
        mono: mono(),
        wall: wall(),
    }
}

pub(super) fn mono() -> Mono {
    let uptime = uptime();
    Mono(uptime.as_secs() * 1_000_000 + u64::from(uptime.subsec_micros()))
}

/// Reads the monotonic clock, in milliseconds.
pub(super) fn ms() -> u64 {
    mono().0 / 1_000
}

/// Reads the wall clock.
#[allow(
    clippy::disallowed_methods,
    reason = "the worker passes the time on from here"
)]
#[must_use]
pub fn wall() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}
