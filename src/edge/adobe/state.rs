//! The state of the routes. None of it matters to the counts: an edge can lose it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use tokio::time::Instant;

use super::{policy::Policies, throttle::Windows};
use crate::{
    client::{AccountId, AccountKey, StreamId, Tenant},
    edge::reload::Current,
};

/// The interval that a player has until the edge has learned that of the installation.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);
/// Most sessions whose last sign of life the edge remembers: about 100 MB.
const MOST_SESSIONS: u64 = 1_000_000;
/// Most states that the edge asks for in a minute, so that its restart is no flood of requests.
const CHECKS_PER_MINUTE: u32 = 30_000;

/// The policies, and what the edge has learned.
pub struct Shared {
    policies: Current<Policies>,
    /// The installation's interval of heartbeats, as last learned.
    interval_ms: AtomicU32,
    /// The installation's TTL, as last learned.
    ttl_ms: AtomicU32,
    of_accounts: Windows<AccountKey>,
    of_sessions: Windows<SessionKey>,
    checks: Windows<()>,
    /// The time of the last sign of life of sessions, since `start`.
    seen: Cache<SessionKey, Duration>,
    start: Instant,
    secret: RandomState,
}

/// A session of an account, by a hash that no caller can choose.
pub type SessionKey = (u64, StreamId);

impl Shared {
    /// Creates the state.
    #[must_use]
    pub(super) fn new(policies: Current<Policies>) -> Self {
        let shared = Self {
            policies,
            interval_ms: AtomicU32::default(),
            ttl_ms: AtomicU32::default(),
            of_accounts: Windows::default(),
            of_sessions: Windows::default(),
            checks: Windows::new(CHECKS_PER_MINUTE),
            seen: Cache::new(MOST_SESSIONS),
            start: Instant::now(),
            secret: RandomState::new(),
        };
        shared.learn(FIRST_INTERVAL, FIRST_INTERVAL);
        shared
    }

    /// The interval of heartbeats, in milliseconds.
    pub(super) fn interval_ms(&self) -> u32 {
        self.interval_ms.load(Ordering::Relaxed)
    }

    /// Stores the times that a reply states.
    pub(super) fn learn(&self, interval: Duration, ttl: Duration) {
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1);
        self.interval_ms.store(ms(interval), Ordering::Relaxed);
        self.ttl_ms.store(ms(ttl), Ordering::Relaxed);
    }

    /// The key of a session.
    pub(super) fn key(&self, tenant: &Tenant, account: &AccountId, stream: StreamId) -> SessionKey {
        let account = (tenant.as_str(), account.as_str());
        (self.secret.hash_one(account), stream)
    }

    /// Stores a sign of life of a session.
    pub(super) fn is_alive(&self, session: SessionKey) {
        self.seen.insert(session, self.start.elapsed());
    }

    /// Whether the last sign of life of a session is less than a TTL ago.
    pub(super) fn is_recent(&self, session: SessionKey) -> bool {
        let ttl = Duration::from_millis(self.ttl_ms.load(Ordering::Relaxed).into());
        let seen = self.seen.get(&session);
        seen.is_some_and(|seen| self.start.elapsed() < seen + ttl)
    }

    /// The policies in use.
    pub(super) fn policies(&self) -> Arc<Policies> {
        self.policies.get()
    }

    /// Whether the state of a session may be requested now.
    pub(super) fn may_check(&self) -> bool {
        let now = self.start.elapsed();
        self.checks.admit((), CHECKS_PER_MINUTE, now).is_ok()
    }

    /// Counts a request that opens a session of an account, which may send `most` a minute.
    pub(super) fn admit_account(&self, account: AccountKey, most: u32) -> Result<(), Duration> {
        self.of_accounts.admit(account, most, self.start.elapsed())
    }

    /// Counts a request of a session, which may send `most` a minute.
    pub(super) fn admit_session(&self, session: SessionKey, most: u32) -> Result<(), Duration> {
        self.of_sessions.admit(session, most, self.start.elapsed())
    }
}
