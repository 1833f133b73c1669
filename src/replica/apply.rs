//! Application of the log's entries, in order.

use super::{
    Applied, Fault, Now, Phase, Replica,
    accounts::{Hash, TimeStep},
    change::Change,
    position::AnotherLog,
};
use crate::domain::{
    AccountKey, Announcement, Batch, Counters, Entry, EntryId, Internal, InternalEntry, LogTime,
    Moment, Rules, Settings, WorkerState,
};

/// Number of accounts whose expiries are processed with each account of a batch.
const EXPIRIES_PER_BATCHED_ACCOUNT: usize = 1;

impl<T> Replica<T> {
    /// Applies the entry at `offset`.
    ///
    /// # Errors
    /// [`Fault::AnotherLog`] and [`Fault::UnknownRules`]: the state has been dropped, and the log
    /// must be attached again.
    pub fn apply(&mut self, offset: u64, entry: &Entry, now: Now) -> Result<Applied, Fault> {
        self.liveness.delivered(now.mono);
        self.expire_some(self.expiries_per_entry);
        if !self.advance_to(offset, Some(entry))? {
            return Ok(Applied::Skipped);
        }
        match entry {
            Entry::Player { key, event } => {
                Ok(self.change_once(key, offset, Change::Player(event)))
            }
            Entry::Batch(batch) => Ok(self.apply_batch(offset, batch)),
            Entry::Internal(InternalEntry {
                entry_id,
                writer_state,
                body,
            }) => self.apply_internal(offset, *entry_id, writer_state.as_ref(), body, now),
        }
    }

    /// Applies the events of a batch, account by account. An account includes all of its events in
    /// the entry or none, because it is copied into snapshots between entries.
    fn apply_batch(&mut self, offset: u64, batch: &Batch) -> Applied {
        self.counters.count(offset, |counters| {
            batch.rejected().iter().for_each(|&n| counters.bad(n));
        });
        let mut outcomes = Vec::with_capacity(batch.events().len());
        let accounts = batch.by_account();
        let accounts = accounts.map(|(key, events)| (self.accounts.hash(key), key, events));
        let accounts: Vec<_> = accounts.collect();
        self.accounts
            .prefetch(accounts.iter().map(|(hash, ..)| *hash));
        for (hash, key, events) in accounts {
            let last = outcomes.len() + events.len();
            let changes = events.iter().map(|it| Change::Player(&it.event));
            self.change(hash, key, offset, changes, |applied| outcomes.push(applied));
            outcomes.resize(last, Applied::Skipped);
            // An account becomes due at most once per entry, so the expiries keep up.
            self.expire_some(EXPIRIES_PER_BATCHED_ACCOUNT);
        }
        Applied::Batch(outcomes)
    }

    /// Returns whether the entry at `offset` must be applied. `entry` is `None` if it cannot be
    /// decoded.
    fn advance_to(&mut self, offset: u64, entry: Option<&Entry>) -> Result<bool, Fault> {
        let next = self.position.advance(offset, entry);
        next.map_err(|AnotherLog| self.start_over(Fault::AnotherLog))
    }

    /// Skips the entry at `offset`, which cannot be decoded. It is counted by the number of the
    /// reason.
    ///
    /// # Errors
    /// [`Fault::AnotherLog`], as [`Self::apply`].
    pub fn skip(&mut self, offset: u64, reason: usize, now: Now) -> Result<(), Fault> {
        self.liveness.delivered(now.mono);
        if self.advance_to(offset, None)? {
            self.counters.count(offset, |counters| counters.bad(reason));
        }
        Ok(())
    }

    /// Skips the entry at `offset`, which RabbitMQ cannot deliver to this replica. Another replica
    /// may read it. It is counted by the number of the reason.
    ///
    /// # Errors
    /// [`Fault::AnotherLog`], as [`Self::apply`].
    pub fn skip_entry(&mut self, offset: u64, reason: usize, now: Now) -> Result<(), Fault> {
        self.position.lose(offset);
        self.skip(offset, reason, now)
    }

    pub(super) fn start_over(&mut self, fault: Fault) -> Fault {
        self.forget();
        self.phase = Phase::Detached;
        fault
    }

    pub(super) fn apply_internal(
        &mut self,
        offset: u64,
        entry_id: EntryId,
        writer_state: Option<&WorkerState>,
        body: &Internal,
        now: Now,
    ) -> Result<Applied, Fault> {
        // Up to this entry, the estimate is bounded by the log time before it.
        self.read_estimate(now.mono);
        if let Internal::Settings { settings, wall } = body {
            // The time of a truncated log continues from its readings, even if its settings are
            // declared again.
            if self.position.has_beginning() {
                self.clock.begin(*wall);
            }
            self.adopt(settings)?;
        } else if let Internal::Tick(Some(settings)) = body {
            self.adopt(settings)?;
        }
        let Some(interval_ms) = self.settings.as_ref().map(Settings::interval_ms) else {
            self.read_back(entry_id, offset, now)?;
            return Ok(Applied::Skipped);
        };
        let mut foreign = false;
        if let Some(writer_state) = writer_state {
            let before = self.clock.now();
            // A replica of this log is never so far ahead.
            foreign = before.is_some_and(|l| writer_state.estimate > l.plus(2 * interval_ms));
            self.clock.apply(writer_state, interval_ms);
            if before.is_none()
                && let (Some(now), Some(settings)) = (self.clock.now(), &self.settings)
            {
                self.capacity.learn_from(now, settings);
            }
            self.advance(offset, before);
            self.observe_writer(entry_id.writer, writer_state, now);
        }
        let applied = match body {
            Internal::Open(open) => {
                let applied = self.change_once(&open.key, offset, Change::Open(open));
                if entry_id.writer == self.writer {
                    self.answer_open(entry_id.seq, open, &applied, now);
                }
                applied
            }
            Internal::Capacity(change) => {
                self.capacity
                    .set(change, self.clock.now().unwrap_or_default());
                Applied::Internal
            }
            Internal::Join { wall } => {
                self.clock.join(*wall, interval_ms);
                Applied::Internal
            }
            Internal::Announced { up_to } => {
                // A writer that has not noticed the new log refers to the old one.
                if *up_to < offset && !foreign {
                    self.announcements.announced(*up_to);
                }
                Applied::Internal
            }
            Internal::Tick(_) | Internal::Settings { .. } => Applied::Internal,
        };
        self.read_back(entry_id, offset, now)?;
        Ok(applied)
    }

    pub(super) fn adopt(&mut self, settings: &Settings) -> Result<(), Fault> {
        if self
            .settings
            .as_ref()
            .is_none_or(|s| settings.number > s.number)
        {
            if Rules::of(settings.rules).is_none() {
                return Err(self.start_over(Fault::UnknownRules(settings.rules)));
            }
            self.accounts.count_by(&settings.count_by);
            self.settings = Some(settings.clone());
        }
        Ok(())
    }

    /// Applies a change to an account at log time, and returns its outcome.
    fn change_once(&mut self, key: &AccountKey, offset: u64, change: Change) -> Applied {
        let mut outcome = Applied::Skipped;
        let hash = self.accounts.hash(key);
        self.change(hash, key, offset, std::iter::once(change), |applied| {
            outcome = applied;
        });
        outcome
    }

    /// Applies the changes by the entry at `offset` to an account at log time, and passes each
    /// outcome to `applied`. Skips all of them while the log's settings and time are not known, and
    /// if the restored account includes the entry.
    fn change<'c>(
        &mut self,
        hash: Hash,
        key: &AccountKey,
        offset: u64,
        changes: impl Iterator<Item = Change<'c>>,
        mut applied: impl FnMut(Applied),
    ) {
        let (Some(now), Some(settings)) = (self.clock.now(), &self.settings) else {
            return;
        };
        let moment = Moment {
            now,
            shift: self.clock.shift(),
            settings,
            full: self.capacity.is_full(key.tenant(), now),
        };
        let (events, caused) = (&mut self.events, &mut self.caused);
        let counters = &mut self.counters;
        self.accounts
            .change(hash, key, offset, now, |account, pool| {
                for change in changes {
                    let outcome = change.apply(account, &moment, events);
                    if let Some(stream) = change.has_set_metadata(&outcome) {
                        account.share_metadata(stream, |metadata| pool.shared(metadata));
                    }
                    if change.ignores_reason(&outcome) {
                        counters.count(offset, |counters| counters.bad(Counters::BAD_FIELD));
                    }
                    counters.count(offset, |counters| match &outcome {
                        Applied::Heartbeat(outcome) => counters.heartbeat(outcome),
                        Applied::Stop(outcome) => counters.stop(*outcome),
                        Applied::Open(outcome) => counters.open(outcome),
                        Applied::OldRules(_) => counters.bad(Counters::OLD_RULES),
                        Applied::Batch(_) | Applied::Skipped | Applied::Internal => {}
                    });
                    if !events.is_empty() {
                        let (rules, active) = (settings.rules(), account.count(now));
                        caused.extend(Announcement::of_events(offset, key, rules, events, active));
                    }
                    applied(outcome);
                }
            });
        if self.is_expiring() {
            self.note_expired();
        }
        if !self.caused.is_empty() {
            let mut caused = std::mem::take(&mut self.caused);
            caused.drain(..).for_each(|caused| self.note(caused));
            self.caused = caused;
            self.announce();
        }
    }

    /// Processes an advance of log time from `before`.
    fn advance(&mut self, offset: u64, before: Option<LogTime>) {
        let Some(now) = self.clock.now() else {
            return;
        };
        let step = TimeStep {
            offset,
            before: before.unwrap_or(now),
            now,
            shift: self.clock.shift(),
            rules: self.settings.as_ref().map_or(Rules::V1, Settings::rules),
        };
        self.accounts.advance(step);
        self.expire_some(self.expiries_per_entry);
    }

    /// Processes an internal entry that was read back, if this replica appended it: updates the
    /// liveness, and answers requests.
    pub(super) fn read_back(
        &mut self,
        entry_id: EntryId,
        offset: u64,
        now: Now,
    ) -> Result<(), Fault> {
        if entry_id.writer != self.writer {
            return Ok(());
        }
        self.liveness.read_back(entry_id.seq);
        self.leadership.read_back(entry_id.seq, offset, now.mono);
        if self.phase
            == (Phase::CatchingUp {
                marker: Some(entry_id.seq),
            })
        {
            if self.settings.is_none() {
                // There are no settings yet, so nothing can be served. The next tick appends a
                // marker again.
                self.phase = Phase::CatchingUp { marker: None };
                self.append_lost_settings(now);
                return Ok(());
            }
            self.finish_restoring()?;
            self.phase = Phase::Serving;
            self.leadership.begin(offset, now.mono);
            self.estimate
                .start(now.mono, self.clock.now().unwrap_or_default());
            if !self.is_live(now.mono) {
                // Replay took longer than a marker stays fresh, so a marker is appended now. It
                // carries no time, as only ticks advance it.
                self.append_at(now, None, Internal::Tick(None));
            }
        }
        if self.phase == Phase::Serving {
            self.decide_leader(now);
            self.answer_strong(entry_id.seq, now);
            if self.is_live(now.mono) {
                self.resume(now);
            }
        }
        Ok(())
    }
}
