//! The machine's clocks: the only place of the worker where time comes in.

use rustix::time::{ClockId, clock_gettime};

use crate::{
    domain::WallTime,
    replica::{Mono, Now},
};

/// A monotonic clock that runs while the machine sleeps, where there is one.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Reads both clocks.
pub(super) fn now() -> Now {
    Now {
        mono: mono(),
        wall: wall(),
    }
}

/// Reads the monotonic clock.
pub(super) fn mono() -> Mono {
    let mono = clock_gettime(CLOCK);
    let (s, ns) = (mono.tv_sec.unsigned_abs(), mono.tv_nsec.unsigned_abs());
    Mono(s * 1_000_000 + ns / 1_000)
}

/// The same in milliseconds: what reports are made by.
pub(super) fn ms() -> u64 {
    mono().0 / 1_000
}

/// Reads the wall clock.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the edge at which time enters"
)]
pub(crate) fn wall() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}
