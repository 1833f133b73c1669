//! Ids and reasons as numbers.

use uuid::Uuid;

use crate::domain::{RefusedReason, StoppedReason, StreamId};

pub(super) type Id = [u8; 16];

pub(super) const fn stream(id: Id) -> StreamId {
    StreamId(Uuid::from_bytes(id))
}

pub(super) const fn store_stopped(reason: StoppedReason) -> u8 {
    match reason {
        StoppedReason::Stopped => 0,
        StoppedReason::Replaced => 1,
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
    }
}

pub(super) fn refused(code: u8) -> Option<RefusedReason> {
    let mut all = RefusedReason::ALL.into_iter();
    all.find(|reason| store_refused(*reason) == code)
}
