//! The state of the routes. The counts do not depend on it: a restart may lose it.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{policy::Policies, throttle::Windows};
use crate::{
    client::AccountKey,
    edge::{players::StreamKey, reload::Current},
};

/// The interval of heartbeats until a reply states that of the installation.
const FIRST_INTERVAL_MS: u32 = 5_000;

/// The policies, and what the edge has learned.
pub(super) struct AdobeState {
    pub(super) policies: Current<Policies>,
    /// The installation's interval of heartbeats, as last learned.
    interval_ms: AtomicU32,
    /// The requests that open sessions.
    pub(super) of_accounts: Windows<AccountKey>,
    pub(super) of_sessions: Windows<StreamKey>,
}

impl AdobeState {
    pub(super) fn new(policies: Current<Policies>) -> Self {
        Self {
            policies,
            interval_ms: AtomicU32::new(FIRST_INTERVAL_MS),
            of_accounts: Windows::default(),
            of_sessions: Windows::default(),
        }
    }

    /// The interval of heartbeats, in milliseconds.
    pub(super) fn interval_ms(&self) -> u32 {
        self.interval_ms.load(Ordering::Relaxed)
    }

    /// Stores the interval that a reply states.
    pub(super) fn learn(&self, interval: Duration) {
        let ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        self.interval_ms.store(ms.max(1), Ordering::Relaxed);
    }
}
