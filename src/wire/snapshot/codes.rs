//! Ids and reasons as numbers.

use uuid::Uuid;

use crate::domain::{GivenReason, RefusedReason, StoppedReason, StreamId};

pub(super) type Id = [u8; 16];

pub(super) const fn stream(id: Id) -> StreamId {
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
    match reason {
        StoppedReason::Stopped => 0,
        StoppedReason::Replaced => 1,
        StoppedReason::TooOld => 2,
    }
}

pub(super) fn stopped(code: u8) -> Option<StoppedReason> {
    let mut all = StoppedReason::ALL.into_iter();
    all.find(|reason| store_stopped(*reason) == code)
}

pub(super) const fn store_refused(reason: RefusedReason) -> u8 {
    match reason {
        RefusedReason::MaxActive => 0,
        RefusedReason::AccountCap => 1,
        RefusedReason::OverCapacity => 2,
        RefusedReason::Stopped => 3,
        RefusedReason::Limits => 4,
    }
}

pub(super) fn refused(code: u8) -> Option<RefusedReason> {
    let mut all = RefusedReason::ALL.into_iter();
    all.find(|reason| store_refused(*reason) == code)
}
