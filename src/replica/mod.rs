//! One partition as a state machine without I/O: inputs in, [`Effect`]s out.
//!
//! A replica follows its log entry by entry and holds the accounts that result. It proposes
//! requests to open as entries, and answers them when they come back; it answers questions from
//! its state while its own marks come back in time. It has no clock: each input brings [`Now`].
//!
//! The life of a replica: [`Replica::attach`] returns the position to read from,
//! [`Replica::attached`] appends a marker, [`Replica::apply`] applies every entry. When the marker
//! is read back, the replica has caught up and accepts requests ([`Effect::Resume`]). First start,
//! restart and crash all take this path.

mod accounts;
mod announcements;
mod apply;
mod capacity;
mod checksum;
mod counters;
mod effect;
mod estimate;
mod expiry;
mod leader;
mod liveness;
mod pool;
mod position;
mod requests;
mod snapshot;
mod tick;

pub use accounts::{Levels, Totals};
pub use announcements::MAX_UNANNOUNCED;
pub use effect::{Applied, Effect, Fault, Now};
pub use estimate::Mono;
pub use snapshot::{Restored, Restoring};

use accounts::Accounts;
use announcements::Announcements;
use capacity::Capacity;
use counters::ReplicaCounters;
use estimate::Estimate;
use leader::Leadership;
use liveness::Liveness;
use position::LogPosition;
use requests::Requests;

use crate::domain::{
    Account, AccountKey, Activity, Counters, Internal, LifecycleEvent, LogClock, LogTime, Settings,
};

/// Where to read the log from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At its oldest entry.
    First,
    /// At this offset, which must hold the very entry that was applied there.
    Offset(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No log is attached.
    Detached,
    /// The log is being read; `mark` is the own entry whose return means caught up.
    CatchingUp { mark: Option<u64> },
    /// Caught up.
    Serving,
}

/// One worker's copy of one partition's state.
#[derive(Debug)]
pub struct Replica<T> {
    writer: u64,
    seq: u64,
    phase: Phase,
    position: LogPosition,
    accounts: Accounts,
    clock: LogClock,
    estimate: Estimate,
    settings: Option<Settings>,
    capacity: Capacity,
    /// Settings and log time of the last snapshot, even if it was one of another log.
    remembered: Option<(Settings, LogTime)>,
    announcements: Announcements,
    counters: ReplicaCounters,
    /// Lifecycle events of the entry being applied; empty in between.
    events: Vec<LifecycleEvent>,
    liveness: Liveness,
    leadership: Leadership,
    requests: Requests<T>,
    effects: Vec<Effect<T>>,
}

impl<T> Replica<T> {
    /// Creates an empty replica. `writer` is a random number, different for each replica and each
    /// start.
    #[must_use]
    pub fn new(writer: u64) -> Self {
        Self {
            writer,
            seq: 0,
            phase: Phase::Detached,
            position: LogPosition::default(),
            accounts: Accounts::new(),
            clock: LogClock::default(),
            estimate: Estimate::default(),
            settings: None,
            capacity: Capacity::default(),
            remembered: None,
            announcements: Announcements::default(),
            counters: ReplicaCounters::default(),
            events: Vec::new(),
            liveness: Liveness::default(),
            leadership: Leadership::default(),
            requests: Requests::default(),
            effects: Vec::new(),
        }
    }

    /// Takes what is to be done, in order.
    #[must_use]
    pub fn take_effects(&mut self) -> Vec<Effect<T>> {
        std::mem::take(&mut self.effects)
    }

    /// Starts a connection to the log, and returns the position to read from. Requests of the
    /// previous connection are dropped, as the broker delivers them again.
    pub fn attach(&mut self) -> StartAt {
        self.detach();
        self.phase = Phase::CatchingUp { mark: None };
        if let Some(offset) = self.position.attach() {
            return StartAt::Offset(offset);
        }
        self.forget();
        StartAt::First
    }

    /// Drops the state. A log without settings may still be reminded of them.
    fn forget(&mut self) {
        *self = Self {
            phase: self.phase,
            seq: self.seq,
            remembered: self.remembered.take(),
            accounts: self.accounts.emptied(),
            ..Self::new(self.writer)
        };
    }

    /// The connection to the log is gone. The state stays.
    pub fn detach(&mut self) {
        self.phase = Phase::Detached;
        self.leadership = Leadership::default();
        self.requests = Requests::default();
        self.effects.clear();
        self.liveness.reset();
        self.abandon_snapshot();
    }

    /// The log is being delivered: appends the mark whose return means caught up.
    pub fn attached(&mut self, now: Now) {
        self.liveness.delivered(now.mono);
        let mark = self.append(now, Internal::Join { wall: now.wall });
        self.phase = Phase::CatchingUp { mark: Some(mark) };
    }

    /// The interval of ticks; the longest there is while the settings are not known.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.settings.as_ref().map_or(1_000, Settings::interval_ms)
    }

    /// The settings in force, once known.
    #[must_use]
    pub const fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// Caught up, and fresh enough to answer.
    #[must_use]
    pub fn is_live(&self, now: Mono) -> bool {
        matches!(self.phase, Phase::Serving)
            && self.clock.now().is_some()
            && self.liveness.is_live(now, self.interval_ms())
    }

    /// Caught up since it was attached.
    #[must_use]
    pub const fn has_caught_up(&self) -> bool {
        matches!(self.phase, Phase::Serving)
    }

    /// How old the state may be, in milliseconds.
    #[must_use]
    pub fn lag_ms(&self, now: Mono) -> Option<u64> {
        self.liveness.lag_ms(now)
    }

    /// Totals of the partition as of the last applied entry.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.accounts.totals()
    }

    /// The same of one tenant; nothing where it is not known.
    #[must_use]
    pub fn totals_of(&self, tenant: &str) -> Totals {
        self.accounts.of_tenant(tenant)
    }

    /// The same by tenant, in no order.
    pub fn totals_by_tenant(&self) -> impl Iterator<Item = (&str, Totals)> {
        self.accounts.by_tenant()
    }

    /// How many accounts have how many active streams.
    #[must_use]
    pub const fn levels(&self) -> Levels {
        self.accounts.levels()
    }

    /// Counters of the log's applied entries, equal on every replica.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        self.counters.get()
    }

    /// The log's time, once known.
    #[must_use]
    pub const fn log_time(&self) -> Option<LogTime> {
        self.clock.now()
    }

    /// The offset of the last entry that was applied.
    #[must_use]
    pub const fn applied(&self) -> Option<u64> {
        self.position.applied()
    }

    /// A copy of an account as of the last applied entry, to look into or to write down. It may be
    /// old: answers come from requests alone.
    #[must_use]
    pub fn account(&self, key: &AccountKey) -> Option<Account> {
        self.accounts.read(key, Account::clone)
    }

    /// An account's activity at `at`.
    fn activity(&self, key: &AccountKey, at: LogTime) -> Activity {
        let shift = self.clock.shift();
        self.accounts
            .read(key, |account| account.activity(key, at, shift))
            .unwrap_or_else(|| Activity {
                key: key.clone(),
                as_of: shift.show(at),
                streams: Vec::new(),
                left_out: 0,
            })
    }
}

#[cfg(test)]
mod tests;
