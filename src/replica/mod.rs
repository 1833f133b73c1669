//! One partition as a state machine without I/O: inputs in, [`Effect`]s out.
//!
//! A replica applies its log entry by entry, and stores the resulting accounts. It appends an
//! `init` as a proposal, and answers when the proposal is read back. It answers a `status` from its
//! state while its markers are read back in time. It has no clock: each input contains [`Now`].
//!
//! The life of a replica: [`Replica::attach`] returns the position to read from,
//! [`Replica::attached`] appends a marker, [`Replica::apply`] applies every entry. When the marker
//! is read back, the replica has caught up and accepts requests ([`Effect::Resume`]). First start,
//! restart and crash all take this path.

pub(crate) mod accounts;
mod announcements;
mod apply;
mod capacity;
pub(crate) mod change;
mod checksum;
mod counters;
mod effect;
mod estimate;
mod expiry;
mod in_flight;
mod leader;
mod leadership;
mod liveness;
mod pool;
mod position;
mod requests;
mod restoring;
mod snapshot;
mod tenants;
mod tick;
mod workers;

pub use accounts::{Levels, StreamCounts};
pub use announcements::MAX_UNANNOUNCED;
pub use effect::{Applied, Effect, Fault, Now};
pub use estimate::Mono;
pub use restoring::Restoring;

use accounts::Accounts;
use announcements::Announcements;
use capacity::Capacity;
use counters::ReplicaCounters;
use estimate::Estimate;
use expiry::EXPIRIES_PER_ENTRY;
use in_flight::Requests;
use leadership::Leadership;
use liveness::{FRESH_INTERVALS, Liveness};
use position::LogPosition;
use workers::{LocalQueues, Workers};

use crate::domain::{
    Account, AccountKey, Activity, Announcement, Counters, Entry, Internal, InternalEntry,
    LifecycleEvent, LogClock, LogTime, Settings, ValueCounts,
};

/// The position from which to read the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest entry.
    First,
    /// This offset. Its entry must be the one that the replica applied there.
    Offset(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No log is attached.
    Detached,
    /// The log is being read. The replica has caught up when this marker is read back.
    CatchingUp { marker: Option<u64> },
    /// The replica has caught up.
    Serving,
}

/// A worker's copy of one partition. `T` identifies a request of the caller.
#[derive(Debug)]
pub struct Replica<T> {
    writer: u64,
    seq: u64,
    phase: Phase,
    position: LogPosition,
    accounts: Accounts,
    expiries_per_entry: usize,
    clock: LogClock,
    estimate: Estimate,
    settings: Option<Settings>,
    capacity: Capacity,
    /// Settings and log time of the last snapshot, even if it was one of another log.
    last_settings: Option<(Settings, LogTime)>,
    announcements: Announcements,
    counters: ReplicaCounters,
    /// Lifecycle events of the change being applied; empty in between.
    events: Vec<LifecycleEvent>,
    /// Announcements of the account being changed; empty in between.
    caused: Vec<Announcement>,
    liveness: Liveness,
    leadership: Leadership,
    workers: Workers,
    /// The local queue that this worker consumes.
    local_queue: Option<u64>,
    local_queues: LocalQueues,
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
            accounts: Accounts::default(),
            expiries_per_entry: EXPIRIES_PER_ENTRY,
            clock: LogClock::default(),
            estimate: Estimate::default(),
            settings: None,
            capacity: Capacity::default(),
            last_settings: None,
            announcements: Announcements::default(),
            counters: ReplicaCounters::default(),
            events: Vec::new(),
            caused: Vec::new(),
            liveness: Liveness::default(),
            leadership: Leadership::default(),
            workers: Workers::default(),
            local_queue: None,
            local_queues: LocalQueues::default(),
            requests: Requests::default(),
            effects: Vec::new(),
        }
    }

    /// Removes and returns the effects, in order.
    #[must_use]
    pub fn take_effects(&mut self) -> Vec<Effect<T>> {
        std::mem::take(&mut self.effects)
    }

    /// Starts a connection to the log, and returns the position to read from. Requests of the
    /// previous connection are dropped, as the broker delivers them again.
    pub fn attach(&mut self) -> StartAt {
        self.detach();
        self.phase = Phase::CatchingUp { marker: None };
        if let Some(offset) = self.position.attach() {
            return StartAt::Offset(offset);
        }
        self.forget();
        StartAt::First
    }

    /// Drops the state, but keeps the last settings for a log that has lost them.
    fn forget(&mut self) {
        *self = Self {
            phase: self.phase,
            seq: self.seq,
            local_queue: self.local_queue,
            last_settings: self.last_settings.take(),
            expiries_per_entry: self.expiries_per_entry,
            ..Self::new(self.writer)
        };
    }

    /// Records that the connection to the log is lost. The state stays.
    pub fn detach(&mut self) {
        self.phase = Phase::Detached;
        self.leadership.detach();
        self.requests = Requests::default();
        self.accounts.scan = None;
        self.effects.clear();
        self.liveness.reset();
        self.abandon_snapshot();
    }

    /// Records that the log is being delivered, and appends the marker that shows when the replica
    /// has caught up.
    pub fn attached(&mut self, now: Now) {
        self.liveness.delivered(now.mono);
        let marker = self.append(now, Internal::Join { wall: now.wall });
        self.phase = Phase::CatchingUp {
            marker: Some(marker),
        };
    }

    /// The interval of ticks, in milliseconds; the longest one while the settings are not known.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.settings.as_ref().map_or(1_000, Settings::interval_ms)
    }

    /// The longest age of a state in an answer, in milliseconds.
    #[must_use]
    pub fn fresh_for_ms(&self) -> u64 {
        FRESH_INTERVALS * self.interval_ms()
    }

    /// The settings in force, once known.
    #[must_use]
    pub const fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// Whether the replica has caught up and is fresh enough to answer.
    #[must_use]
    pub fn is_live(&self, now: Mono) -> bool {
        matches!(self.phase, Phase::Serving)
            && self.clock.now().is_some()
            && self.liveness.is_live(now, self.interval_ms())
    }

    /// Whether the replica has caught up since it was attached.
    #[must_use]
    pub const fn has_caught_up(&self) -> bool {
        matches!(self.phase, Phase::Serving)
    }

    /// The maximum age of the state, in milliseconds.
    #[must_use]
    pub fn lag_ms(&self, now: Mono) -> Option<u64> {
        self.liveness.lag_ms(now)
    }

    /// Totals of the partition as of the last applied entry.
    #[must_use]
    pub const fn totals(&self) -> StreamCounts {
        self.accounts.indexes.counts.totals
    }

    /// Totals of one tenant; zero if the tenant is not known.
    #[must_use]
    pub fn totals_of(&self, tenant: &str) -> StreamCounts {
        self.accounts.indexes.counts.of_tenant(tenant)
    }

    /// Totals by tenant, in any order.
    pub fn totals_by_tenant(&self) -> impl Iterator<Item = (&str, StreamCounts)> {
        let by_tenant = &self.accounts.indexes.counts.by_tenant;
        by_tenant
            .iter()
            .map(|(name, counts)| (name.as_str(), *counts))
    }

    /// The metadata keys whose values are counted.
    #[must_use]
    pub fn counted_keys(&self) -> &[String] {
        self.accounts.indexes.values.keys()
    }

    /// Active streams of a tenant by the values of a metadata key. Incomplete until
    /// [`Self::scan`] has counted existing streams after a change of the keys.
    #[must_use]
    pub fn values_of(&self, tenant: &str, key: &str) -> ValueCounts {
        self.accounts.indexes.values.of(tenant, key)
    }

    /// Number of accounts by their number of active streams.
    #[must_use]
    pub const fn levels(&self) -> Levels {
        self.accounts.indexes.counts.levels
    }

    /// Counters of the log's applied entries, equal on every replica.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        self.counters.get()
    }

    /// The number by which this replica's entries are known.
    #[must_use]
    pub const fn writer(&self) -> u64 {
        self.writer
    }

    /// Whether this replica has appended the entry.
    #[must_use]
    pub const fn wrote(&self, entry: &Entry) -> bool {
        matches!(entry, Entry::Internal(InternalEntry { entry_id, .. }) if entry_id.writer == self.writer)
    }

    /// The number of workers that serve the partition, this one included.
    pub fn workers(&mut self, now: Mono) -> usize {
        let interval_ms = self.interval_ms();
        self.workers.count(now, interval_ms)
    }

    /// Sets the local queue of `status` requests that this worker consumes, for its entries.
    /// Appends a tick with a new one at once, so that the log contains the queue before RabbitMQ
    /// does.
    pub fn consume_locally(&mut self, queue: Option<u64>, now: Now) {
        let is_new = queue.is_some() && queue != self.local_queue;
        self.local_queue = queue;
        if is_new && self.has_caught_up() {
            self.append(now, Internal::Tick(None));
        }
    }

    /// The local queue that this worker consumes, as set.
    #[must_use]
    pub const fn local_queue(&self) -> Option<u64> {
        self.local_queue
    }

    /// The log's time, once known.
    #[must_use]
    pub const fn log_time(&self) -> Option<LogTime> {
        self.clock.now()
    }

    /// The offset of the last entry that was applied.
    #[must_use]
    pub const fn applied(&self) -> Option<u64> {
        self.position.applied
    }

    /// Clones an account as of the last applied entry, for inspection. It may be outdated, unlike
    /// the answers to requests.
    #[must_use]
    pub fn account(&self, key: &AccountKey) -> Option<Account> {
        self.accounts.get(key).cloned()
    }

    /// An account's activity at `at`.
    fn activity(&self, key: &AccountKey, at: LogTime) -> Activity {
        let none = Account::default();
        let account = self.accounts.get(key).unwrap_or(&none);
        account.activity(key, at, self.clock.shift())
    }
}

#[cfg(test)]
mod tests;
