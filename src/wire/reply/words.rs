//! The contract's words for reasons and states.

use crate::domain::{RefusedReason, StoppedReason, StreamState};

/// The contract's word for the reason of a refusal.
#[must_use]
pub const fn refused_reason(reason: RefusedReason) -> &'static str {
    match reason {
        RefusedReason::MaxActive => "max_active",
        RefusedReason::AccountCap => "account_cap",
        RefusedReason::OverCapacity => "over_capacity",
        RefusedReason::Stopped => "stopped",
    }
}

/// The contract's word for the reason of a stop.
#[must_use]
pub const fn stopped_reason(reason: StoppedReason) -> &'static str {
    match reason {
        StoppedReason::Stopped => "stopped",
        StoppedReason::Replaced => "replaced",
    }
}

/// The contract's word for a stream's state.
#[must_use]
pub const fn state_word(state: StreamState) -> &'static str {
    match state {
        StreamState::Active => "active",
        StreamState::Stopped => "stopped",
        StreamState::Expired => "expired",
        StreamState::Unknown => "unknown",
    }
}
