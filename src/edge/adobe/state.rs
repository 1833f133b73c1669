//! The state of the routes. The counts do not depend on it: a restart may lose it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{policy::Policies, throttle::Windows};
use crate::{
    client::AccountKey,
    edge::{players::StreamKey, reload::Current},
};

/// The interval of heartbeats until a reply states that of the installation.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);

/// The policies, and what the edge has learned.
pub struct AdobeState {
    policies: Current<Policies>,
    /// The installation's interval of heartbeats, as last learned.
    interval_ms: AtomicU32,
    of_accounts: Windows<AccountKey>,
    of_sessions: Windows<StreamKey>,
    start: Instant,
}

impl AdobeState {
    /// Creates the state.
    #[must_use]
    pub(super) fn new(policies: Current<Policies>) -> Self {
        let shared = Self {
            policies,
            interval_ms: AtomicU32::default(),
            of_accounts: Windows::default(),
            of_sessions: Windows::default(),
            start: Instant::now(),
        };
        shared.learn(FIRST_INTERVAL);
        shared
    }

    /// The policies in use.
    pub(super) fn policies(&self) -> Arc<Policies> {
        self.policies.get()
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

    /// Counts a request that opens a session of an account, which may send `most` a minute.
    pub(super) fn admit_account(&self, account: AccountKey, most: u32) -> Result<(), Duration> {
        self.of_accounts.admit(account, most, self.start.elapsed())
    }

    /// Counts a request of a session, which may send `most` a minute.
    pub(super) fn admit_session(&self, session: StreamKey, most: u32) -> Result<(), Duration> {
        self.of_sessions.admit(session, most, self.start.elapsed())
    }
}
