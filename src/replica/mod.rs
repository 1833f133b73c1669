//! One partition as a state machine without I/O: inputs in, [`Effect`]s out.
//!
//! A replica follows its log entry by entry and holds the accounts that result. It proposes
//! requests to open as entries, and answers them when they come back; it answers questions from
//! its state while its own marks come back in time. It has no clock: each input brings [`Now`].
//!
//! The life of a replica: [`Replica::attach`] says where to read from, [`Replica::attached`]
//! writes a mark, [`Replica::apply`] takes every entry; with the mark's return the replica has
//! caught up and takes requests ([`Effect::Resume`]). First start, restart and crash are this one
//! path.

mod accounts;
mod effect;
mod estimate;
mod liveness;
mod requests;

use std::collections::{HashSet, VecDeque};

pub use accounts::Totals;
pub use effect::{Applied, Effect, Fault, Now};
pub use estimate::Mono;

use accounts::Accounts;
use estimate::Estimate;
use liveness::Liveness;
use requests::{Held, Opens, Strong};

use crate::domain::{
    Account, AccountKey, Activity, CapacityChange, Entry, Internal, LogClock, LogTime, Mark,
    Moment, RULES_VERSION, Reading, Settings, Tenant,
};

/// How long the broker may confirm entries without delivering them, in milliseconds.
const SILENCE_MS: u64 = 5_000;

/// Where to read the log from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At its oldest entry.
    First,
    /// At this offset, which must hold the very entry that was applied there.
    Offset(u64),
}

/// The last marked entry that was applied, and where it was.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    offset: u64,
    mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No log is attached.
    Detached,
    /// The log is being read; `mark` is the own entry whose return means caught up.
    CatchingUp { mark: Option<u64> },
    /// Caught up.
    Serving { since: Mono },
}

/// One worker's copy of one partition's state.
#[derive(Debug)]
pub struct Replica<T> {
    writer: u64,
    seq: u64,
    phase: Phase,
    accounts: Accounts,
    clock: LogClock,
    estimate: Estimate,
    settings: Option<Settings>,
    full: bool,
    full_tenants: HashSet<Tenant>,
    /// The offset of the first entry that was seen: 0 where the log still has its beginning.
    first: Option<u64>,
    /// The offset of the last entry that was applied.
    applied: Option<u64>,
    /// An entry that nobody can read lies behind the anchor: the log is read on from here.
    beyond: Option<u64>,
    anchor: Option<Anchor>,
    /// The anchor has come back since the log was attached, or there is none to come.
    anchored: bool,
    liveness: Liveness,
    /// When the log last delivered something.
    progress: Mono,
    /// When the clocks of a writer that has served longer were last read from the log.
    elder: Option<Mono>,
    /// Requests are being taken.
    taking: bool,
    /// This replica holds the partition's lease.
    leads: bool,
    opens: Opens<T>,
    strong: Strong<T>,
    held: VecDeque<Held<T>>,
    effects: Vec<Effect<T>>,
}

impl<T> Replica<T> {
    /// A replica that knows nothing yet. `writer` is a random number, another for each replica and
    /// each start.
    #[must_use]
    pub fn new(writer: u64) -> Self {
        Self {
            writer,
            seq: 0,
            phase: Phase::Detached,
            accounts: Accounts::new(),
            clock: LogClock::default(),
            estimate: Estimate::default(),
            settings: None,
            full: false,
            full_tenants: HashSet::new(),
            first: None,
            applied: None,
            beyond: None,
            anchor: None,
            anchored: true,
            liveness: Liveness::default(),
            progress: Mono::default(),
            elder: None,
            taking: false,
            leads: false,
            opens: Opens::default(),
            strong: Strong::default(),
            held: VecDeque::new(),
            effects: Vec::new(),
        }
    }

    /// Takes what is to be done, in order.
    #[must_use]
    pub fn take_effects(&mut self) -> Vec<Effect<T>> {
        std::mem::take(&mut self.effects)
    }

    /// A connection to the log begins: says where to read from. The requests of the connection
    /// before are forgotten; the broker delivers them anew.
    pub fn attach(&mut self) -> StartAt {
        self.detach();
        self.phase = Phase::CatchingUp { mark: None };
        match (self.beyond, self.anchor) {
            (Some(beyond), _) => {
                self.anchored = false;
                StartAt::Offset(beyond)
            }
            (None, Some(anchor)) => {
                self.anchored = false;
                StartAt::Offset(anchor.offset)
            }
            (None, None) => {
                *self = Self {
                    phase: self.phase,
                    seq: self.seq,
                    ..Self::new(self.writer)
                };
                StartAt::First
            }
        }
    }

    /// The connection to the log is gone. The state stays.
    pub fn detach(&mut self) {
        self.phase = Phase::Detached;
        self.taking = false;
        self.leads = false;
        self.opens.clear();
        self.strong.clear();
        self.held.clear();
        self.effects.clear();
        self.liveness.reset();
    }

    /// The log is being delivered: appends the mark whose return means caught up.
    pub fn attached(&mut self, now: Now) {
        self.progress = now.mono;
        let mark = self.append(now, Internal::Join { wall: now.wall });
        self.phase = Phase::CatchingUp { mark: Some(mark) };
    }

    /// Applies the entry at `offset`.
    ///
    /// # Errors
    /// [`Fault::AnotherLog`] and [`Fault::UnknownRules`]: the state has been thrown away, and the
    /// log must be attached anew.
    pub fn apply(&mut self, offset: u64, entry: &Entry, now: Now) -> Result<Applied, Fault> {
        self.progress = now.mono;
        if !self.anchored {
            self.check_anchor(offset, entry)?;
        }
        if self.applied.is_some_and(|applied| offset <= applied) {
            return Ok(Applied::Skipped);
        }
        self.first.get_or_insert(offset);
        self.applied = Some(offset);
        match entry {
            Entry::Heartbeat {
                key,
                stream,
                metadata,
            } => Ok(self.change(key, |account, moment| {
                Applied::Heartbeat(account.heartbeat(moment, *stream, metadata.as_ref()))
            })),
            Entry::Stop { key, stream } => Ok(self.change(key, |account, moment| {
                Applied::Stop(account.stop(moment, *stream))
            })),
            Entry::Internal {
                mark,
                reading,
                body,
            } => {
                self.anchor = Some(Anchor {
                    offset,
                    mark: *mark,
                });
                self.beyond = None;
                self.apply_internal(*mark, reading.as_ref(), body, now)
            }
        }
    }

    /// An entry that does not decode still has its place.
    ///
    /// # Errors
    /// [`Fault::AnotherLog`], as [`Self::apply`].
    pub fn skip(&mut self, offset: u64, now: Now) -> Result<(), Fault> {
        if let Some(beyond) = self.beyond {
            self.anchored = offset >= beyond;
        } else if !self.anchored && self.anchor.is_some_and(|a| offset >= a.offset) {
            return Err(self.start_over(Fault::AnotherLog));
        }
        self.progress = now.mono;
        self.first.get_or_insert(offset);
        self.applied = self.applied.max(Some(offset));
        Ok(())
    }

    /// The entry at `offset` cannot be read, by any worker: the log is read on behind it.
    pub fn pass_over(&mut self, offset: u64) {
        self.applied = self.applied.max(Some(offset));
        self.beyond = Some(offset + 1);
    }

    /// Deliveries begin with the chunk that holds the offset asked for, so earlier ones come too.
    fn check_anchor(&mut self, offset: u64, entry: &Entry) -> Result<(), Fault> {
        if let Some(beyond) = self.beyond {
            // There is nothing to compare with: whatever comes is taken for the same log.
            self.anchored = offset >= beyond;
            return Ok(());
        }
        let Some(anchor) = self.anchor else {
            return Ok(());
        };
        if offset < anchor.offset {
            return Ok(());
        }
        self.anchored = offset == anchor.offset
            && matches!(entry, Entry::Internal { mark, .. } if *mark == anchor.mark);
        if self.anchored {
            Ok(())
        } else {
            Err(self.start_over(Fault::AnotherLog))
        }
    }

    fn start_over(&mut self, fault: Fault) -> Fault {
        *self = Self {
            seq: self.seq,
            ..Self::new(self.writer)
        };
        fault
    }

    fn apply_internal(
        &mut self,
        mark: Mark,
        reading: Option<&Reading>,
        body: &Internal,
        now: Now,
    ) -> Result<Applied, Fault> {
        // The estimate runs up to here under the log time that was known until here.
        self.read_estimate(now.mono);
        if let Internal::Settings { settings, wall } = body {
            // The time of a log whose beginning is gone goes on where its readings say it was,
            // however often its settings are declared.
            if self.first == Some(0) {
                self.clock.begin(*wall);
            }
            self.adopt(settings)?;
        } else if let Internal::Tick(Some(settings)) = body {
            self.adopt(settings)?;
        }
        let Some(interval_ms) = self.settings.as_ref().map(Settings::interval_ms) else {
            self.came_back(mark, now);
            return Ok(Applied::Skipped);
        };
        if let Some(reading) = reading {
            self.clock.apply(reading, interval_ms);
            if mark.writer != self.writer && reading.serving_ms >= self.serving_ms(now.mono) {
                self.elder = Some(now.mono);
            }
            if let Some(log) = self.clock.now() {
                self.accounts.advance(log);
            }
        }
        let applied = match body {
            Internal::Open(open) => {
                let applied = self.change(&open.key, |account, moment| {
                    Applied::Open(account.open(moment, open))
                });
                if mark.writer == self.writer {
                    self.answer_open(mark.seq, open, &applied, now);
                }
                applied
            }
            Internal::Capacity(change) => {
                self.set_capacity(change);
                Applied::Internal
            }
            Internal::Join { wall } => {
                self.clock.join(*wall, interval_ms);
                Applied::Internal
            }
            Internal::Tick(_) | Internal::Settings { .. } => Applied::Internal,
        };
        self.came_back(mark, now);
        Ok(applied)
    }

    fn adopt(&mut self, settings: &Settings) -> Result<(), Fault> {
        if self
            .settings
            .as_ref()
            .is_none_or(|s| settings.number > s.number)
        {
            if settings.rules != RULES_VERSION {
                return Err(self.start_over(Fault::UnknownRules(settings.rules)));
            }
            self.settings = Some(settings.clone());
        }
        Ok(())
    }

    fn set_capacity(&mut self, change: &CapacityChange) {
        match (&change.tenant, change.full) {
            (None, full) => self.full = full,
            (Some(tenant), true) => {
                self.full_tenants.insert(tenant.clone());
            }
            (Some(tenant), false) => {
                self.full_tenants.remove(tenant);
            }
        }
    }

    /// Changes an account at L, once L and the settings are known.
    fn change(
        &mut self,
        key: &AccountKey,
        change: impl FnOnce(&mut Account, &Moment) -> Applied,
    ) -> Applied {
        let (Some(now), Some(settings)) = (self.clock.now(), &self.settings) else {
            return Applied::Skipped;
        };
        let full = self.full
            || (!self.full_tenants.is_empty()
                && self.full_tenants.iter().any(|t| t.as_str() == key.tenant()));
        let moment = Moment {
            now,
            shift: self.clock.shift(),
            settings,
            full,
        };
        self.accounts
            .change(key, now, |account| change(account, &moment))
    }

    /// A marked entry was applied. With an own one come caught up, liveness, and answers.
    fn came_back(&mut self, mark: Mark, now: Now) {
        if mark.writer != self.writer {
            return;
        }
        self.liveness.came_back(mark.seq);
        if self.phase
            == (Phase::CatchingUp {
                mark: Some(mark.seq),
            })
        {
            if self.settings.is_none() {
                // Nobody has declared settings yet: there is nothing to serve by. The next tick
                // marks the log again.
                self.phase = Phase::CatchingUp { mark: None };
                return;
            }
            self.phase = Phase::Serving { since: now.mono };
            self.estimate
                .start(now.mono, self.clock.now().unwrap_or_default());
        }
        if let Phase::Serving { .. } = self.phase {
            self.answer_strong(mark.seq, now);
            if self.is_live(now.mono) {
                self.resume(now);
            }
        }
    }

    /// What became of an own entry: `Ok` once the broker has confirmed it.
    pub fn appended(&mut self, seq: u64, outcome: Result<(), ()>, now: Now) {
        if outcome.is_ok() {
            return self.liveness.confirmed(seq, now.mono);
        }
        match self.phase {
            Phase::CatchingUp { mark } if mark == Some(seq) => self.attached(now),
            _ => self.append_failed(seq, now),
        }
    }

    /// Time passes: call this every interval.
    ///
    /// # Errors
    /// [`Fault::AnotherLog`] and [`Fault::Silent`]: the log must be attached anew.
    pub fn tick(&mut self, now: Now) -> Result<(), Fault> {
        let missing_ms = self.liveness.missing_ms(now.mono).unwrap_or(0);
        let still_ms = now.mono.ms_since(self.progress);
        let silent = missing_ms.min(still_ms) > SILENCE_MS.max(5 * self.interval_ms());
        match self.phase {
            Phase::Detached => return Ok(()),
            // The log ends before the entry that was applied last.
            _ if silent && !self.anchored => return Err(self.start_over(Fault::AnotherLog)),
            _ if silent => return Err(Fault::Silent),
            Phase::CatchingUp { mark: None } => {
                self.attached(now);
                return Ok(());
            }
            Phase::CatchingUp { .. } => return Ok(()),
            Phase::Serving { .. } => {}
        }
        let settings = self.settings.clone();
        self.append(now, Internal::Tick(settings));
        if self.leads {
            self.watch_capacity(now);
        }
        self.look_after_requests(now);
        self.accounts.housekeep();
        Ok(())
    }

    /// Appends what the soft limits ask for, until it has come back.
    fn watch_capacity(&mut self, now: Now) {
        let Some(settings) = &self.settings else {
            return;
        };
        // Free again a twentieth below the limit: an account that comes and goes does not write.
        let turn = |records: u64, limit: u64, full: bool| match full {
            false if records >= limit => Some(true),
            true if records < limit - limit / 20 => Some(false),
            _ => None,
        };
        let mut changes = Vec::new();
        let records = self.accounts.totals().records;
        if let Some(full) = turn(records, settings.max_streams_per_partition, self.full) {
            changes.push(CapacityChange { tenant: None, full });
        }
        let limit = settings.max_streams_per_tenant;
        for (name, totals) in self.accounts.by_tenant() {
            let Ok(tenant) = Tenant::new(name) else {
                continue;
            };
            let was = self.full_tenants.contains(&tenant);
            if let Some(full) = turn(totals.records, limit, was) {
                changes.push(CapacityChange {
                    tenant: Some(tenant),
                    full,
                });
            }
        }
        let empty = self.full_tenants.iter().filter(|t| {
            let mut known = self.accounts.by_tenant();
            !known.any(|(name, _)| name == t.as_str())
        });
        changes.extend(empty.map(|tenant| CapacityChange {
            tenant: Some(tenant.clone()),
            full: false,
        }));
        for change in changes {
            self.append(now, Internal::Capacity(change));
        }
    }

    /// Appends an own entry and returns its number.
    fn append(&mut self, now: Now, body: Internal) -> u64 {
        self.seq += 1;
        let reading = match self.phase {
            Phase::Serving { .. } => {
                // An elder writes every interval; three without a word of it mean that it is gone.
                let elder = self.elder.map(|heard| now.mono.ms_since(heard));
                Some(Reading {
                    estimate: self.read_estimate(now.mono),
                    wall: now.wall,
                    serving_ms: self.serving_ms(now.mono),
                    keeps_time: elder.is_none_or(|ms| ms >= 3 * self.interval_ms()),
                })
            }
            _ => None,
        };
        self.liveness.wrote(self.seq, now.mono);
        self.effects.push(Effect::Append(Entry::Internal {
            mark: Mark {
                writer: self.writer,
                seq: self.seq,
            },
            reading,
            body,
        }));
        self.seq
    }

    /// For how long this replica has served; 0 while it does not.
    const fn serving_ms(&self, now: Mono) -> u64 {
        match self.phase {
            Phase::Serving { since } => now.ms_since(since),
            _ => 0,
        }
    }

    /// C.
    fn read_estimate(&mut self, now: Mono) -> LogTime {
        let interval_ms = self.interval_ms();
        self.clock.now().map_or_else(LogTime::default, |log| {
            self.estimate.read(now, log, interval_ms)
        })
    }

    /// The interval of ticks; the shortest there is while the settings are not known.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.settings.as_ref().map_or(50, Settings::interval_ms)
    }

    /// The settings in force, once known.
    #[must_use]
    pub const fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// Caught up, and fresh enough to answer.
    #[must_use]
    pub fn is_live(&self, now: Mono) -> bool {
        matches!(self.phase, Phase::Serving { .. })
            && self.liveness.is_live(now, self.interval_ms())
    }

    /// Caught up since it was attached.
    #[must_use]
    pub const fn has_caught_up(&self) -> bool {
        matches!(self.phase, Phase::Serving { .. })
    }

    /// How old the state may be, in milliseconds.
    #[must_use]
    pub fn lag_ms(&self, now: Mono) -> Option<u64> {
        self.liveness.lag_ms(now)
    }

    /// Tells the replica whether it holds the partition's lease.
    pub const fn lead(&mut self, leads: bool) {
        self.leads = leads;
    }

    /// What the partition holds as of the last applied entry.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.accounts.totals()
    }

    /// The same by tenant, in no order.
    pub fn totals_by_tenant(&self) -> impl Iterator<Item = (&str, Totals)> {
        self.accounts.by_tenant()
    }

    /// The log's time, once known.
    #[must_use]
    pub const fn log_time(&self) -> Option<LogTime> {
        self.clock.now()
    }

    /// The offset of the last entry that was applied.
    #[must_use]
    pub const fn applied(&self) -> Option<u64> {
        self.applied
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
            })
    }
}

#[cfg(test)]
mod tests;
