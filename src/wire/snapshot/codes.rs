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

pub(super) const fn stopped(code: u8) -> Option<StoppedReason> {
    match code {
        0 => Some(StoppedReason::Stopped),
        1 => Some(StoppedReason::Replaced),
        _ => None,
    }
}

pub(super) const fn store_refused(reason: RefusedReason) -> u8 {
    match reason {
        RefusedReason::MaxActive => 0,
        RefusedReason::AccountCap => 1,
        RefusedReason::OverCapacity => 2,
        RefusedReason::Stopped => 3,
    }
}

pub(super) const fn refused(code: u8) -> Option<RefusedReason> {
    match code {
        0 => Some(RefusedReason::MaxActive),
        1 => Some(RefusedReason::AccountCap),
        2 => Some(RefusedReason::OverCapacity),
        3 => Some(RefusedReason::Stopped),
        _ => None,
    }
}
