//! Ids and reasons as numbers.

use uuid::Uuid;

use crate::domain::{GivenReason, RefusedReason, StoppedReason, StreamId};

pub(super) type UuidBytes = [u8; 16];

pub(super) const fn stream(id: UuidBytes) -> StreamId {
    StreamId(Uuid::from_bytes(id))
}

/// The text of a given reason.
pub(super) fn store_given(given: Option<&GivenReason>) -> Option<&str> {
    given.map(GivenReason::as_str)
}

/// `None` if the text is not acceptable.
#[allow(clippy::option_option, reason = "an acceptable text may be absent")]
pub(super) fn given(text: Option<&str>) -> Option<Option<GivenReason>> {
    text.map(GivenReason::new).transpose().ok()
}

pub(super) const fn store_stopped(reason: StoppedReason) -> u8 {
    reason as u8
}

pub(super) fn stopped(code: u8) -> Option<StoppedReason> {
    StoppedReason::ALL.get(usize::from(code)).copied()
}

pub(super) const fn store_refused(reason: RefusedReason) -> u8 {
    reason as u8
}

pub(super) fn refused(code: u8) -> Option<RefusedReason> {
    RefusedReason::ALL.get(usize::from(code)).copied()
}
