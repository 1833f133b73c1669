//! The observer applies every entry when the log stores it, without delay or fault. Every replica
//! must reach its state, and it checks each entry against the promises.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use streamwatch::{
    domain::{
        Account, AccountKey, Entry, HeartbeatOutcome, Internal, InternalEntry, LogTime, OnLimit,
        OpenOutcome, PlayerEvent, RefusedReason, RequestId, Settings, StopOutcome, StopTarget,
        StoppedReason, StreamId, StreamState,
    },
    replica::{Applied, Now, Replica},
};

use crate::{
    admission::Decided,
    batches::single,
    full::Full,
    life::{Life, Sign},
    lifecycle::{Applying, EventKind, Happenings},
    log::Log,
    row::{Row, keys_of, row},
    shell::apply,
};

pub struct Observer {
    pub generation: u32,
    pub epoch: u32,
    /// All stored entries, with the true time.
    taken: Vec<(u64, Rc<Entry>)>,
    /// Expected lifecycle events.
    pub happened: Happenings,
    pub full: Full,
    replica: Replica<()>,
    pub rows: Vec<Row>,
    pub keys: Vec<AccountKey>,
    /// The streams, by account and id.
    pub lives: BTreeMap<AccountKey, BTreeMap<StreamId, Life>>,
    /// The reason of each refusal, and the log time until which it is stored.
    refused: HashMap<RequestId, (u64, RefusedReason)>,
    /// Streams that an `init` ended without naming them, and streams that were too old.
    pub given_way: u64,
    pub too_old: u64,
    /// The minimum by which log time was ahead of true time. Without workers, log time stops, and
    /// never makes up for the pause.
    least_ahead: Option<i64>,
    /// The maximum by which log time may exceed that.
    pub may_gain_ms: u64,
    /// The true time at which a replica of another log last advanced this log's time; the maximum
    /// if no replica with this log's time is left.
    pub misled: Option<u64>,
    /// A replica that reads the log from its beginning now cannot judge earlier answers, as the
    /// settings come later.
    pub unjudged: Option<u64>,
}

impl Observer {
    /// Creates the observer of an empty log.
    pub fn new(log: &Log, may_gain_ms: u64) -> Self {
        let mut replica = Replica::new(0);
        replica.attach();
        Self {
            generation: log.generation,
            epoch: log.epoch,
            taken: Vec::new(),
            happened: Happenings::default(),
            full: Full::default(),
            replica,
            rows: Vec::new(),
            keys: Vec::new(),
            lives: BTreeMap::new(),
            refused: HashMap::new(),
            given_way: 0,
            too_old: 0,
            least_ahead: None,
            may_gain_ms,
            misled: None,
            unjudged: None,
        }
    }

    pub fn log_ms(&self) -> Option<u64> {
        self.replica.log_time().map(|l| l.0)
    }

    pub fn end(&self) -> u64 {
        self.rows.len() as u64
    }

    pub fn settings(&self) -> Option<&Settings> {
        self.replica.settings()
    }

    /// Number of entries that the log had stored by `at`.
    pub fn taken_by(&self, at: u64) -> u64 {
        self.rows.partition_point(|row| row.at <= at) as u64
    }

    /// Suspends checks of time while a replica of the deleted log advances this log's time, by at
    /// most two intervals per entry.
    pub fn excuse_time(&mut self, at: u64) {
        self.least_ahead = None;
        self.misled = self.misled.max(Some(at));
    }

    /// Removes the entries from `end` on, which the broker has lost, and returns them.
    pub fn lose_tail(&mut self, log: &Log, end: u64) -> Vec<Rc<Entry>> {
        let mut anew = Self::new(log, u64::MAX);
        anew.misled = self.misled;
        anew.unjudged = self.unjudged;
        let lost = self.taken.split_off(end as usize);
        for (at, entry) in &self.taken {
            anew.take(*at, Rc::clone(entry));
        }
        anew.may_gain_ms = self.may_gain_ms;
        *self = anew;
        lost.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Applies an entry that the log stores.
    pub fn take(&mut self, at: u64, entry: Rc<Entry>) {
        self.apply(at, &entry);
        self.taken.push((at, entry));
    }

    fn apply(&mut self, at: u64, entry: &Entry) {
        let keys: Vec<_> = keys_of(entry).cloned().collect();
        let before = match &keys[..] {
            [key] => self.replica.account(key),
            _ => None,
        };
        for key in keys {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
        let offset = self.end();
        let bad = self.replica.counters().bad;
        let applied = apply(&mut self.replica, offset, entry, Now::default())
            .expect("the observer follows one log");
        let row = row(&self.replica, at, self.end(), entry, applied, &self.keys);
        if let Some(log_ms) = row.log_ms {
            self.check_time(at, log_ms);
            if let Entry::Internal(InternalEntry { body, .. }) = entry
                && let Internal::Capacity(change) = body
            {
                self.full.note(change, log_ms);
            }
            if let (Entry::Batch(batch), Applied::Batch(outcomes)) = (entry, &row.applied) {
                let counted: u64 = row.counters.bad.iter().sum();
                let rejected = counted - bad.iter().sum::<u64>();
                let ignored = outcomes.iter().filter(|outcome| match outcome {
                    Applied::Heartbeat(outcome) => outcome.ignores_metadata(),
                    outcome => matches!(outcome, Applied::OldRules(_)),
                });
                assert_eq!(rejected, (batch.rejected().len() + ignored.count()) as u64);
                // As if each event were an entry of its own.
                assert_eq!(batch.events().len(), outcomes.len());
                for (event, outcome) in batch.events().iter().zip(outcomes) {
                    assert_ne!(*outcome, Applied::Skipped, "{event:?} was not applied");
                    let entry = single(event);
                    let ended = self.note(at, log_ms, &event.key, &entry, outcome);
                    self.note_happenings(log_ms, &entry, outcome, None, &ended);
                }
            } else {
                let mut ended = Vec::new();
                if let Some((key, _)) = row.accounts.first() {
                    ended = self.note(at, log_ms, key, entry, &row.applied);
                }
                let (applied, before) = (&row.applied, before.as_ref());
                self.note_happenings(log_ms, entry, applied, before, &ended);
                let after = row.accounts.first().and_then(|(_, a)| a.as_ref());
                self.check_admission(log_ms, entry, applied, before, after, &ended);
            }
        }
        self.rows.push(row);
    }

    /// Checks that log time is not faster than true time, except for two intervals.
    fn check_time(&mut self, at: u64, log_ms: u64) {
        let ahead = log_ms as i64 - at as i64;
        let least = self.least_ahead.map_or(ahead, |least| least.min(ahead));
        self.least_ahead = Some(least);
        let gained = (ahead - least) as u64;
        assert!(
            gained <= self.may_gain_ms,
            "log time gained {gained} ms on true time"
        );
    }

    fn note_happenings(
        &mut self,
        log_ms: u64,
        entry: &Entry,
        applied: &Applied,
        before: Option<&Account>,
        ended: &[(StreamId, EventKind)],
    ) {
        let offset = self.rows.len() as u64;
        self.happened.time(offset, log_ms);
        if let Some(settings) = self.replica.settings() {
            let stream = match entry {
                Entry::Player {
                    key,
                    event: PlayerEvent::Heartbeat(heartbeat),
                } => self.lives.get(key).and_then(|l| l.get(&heartbeat.stream)),
                _ => None,
            };
            let ttl_ms = stream.map_or(settings.ttl_ms, |life| life.ttl_ms);
            let nothing = Account::default();
            let applying = Applying {
                entry,
                applied,
                before: before.unwrap_or(&nothing),
                log_ms,
                lasts_ms: lasts_ms(ttl_ms),
                settings,
            };
            self.happened.entry(offset, &applying, ended);
        }
    }

    /// Notes the signs of life and the ends of streams. Returns the active streams that an entry
    /// ended.
    fn note(
        &mut self,
        at: u64,
        log_ms: u64,
        key: &AccountKey,
        entry: &Entry,
        applied: &Applied,
    ) -> Vec<(StreamId, EventKind)> {
        let Some(settings) = self.replica.settings() else {
            return Vec::new();
        };
        let sign_of = |is_heartbeat, ttl_ms| Sign {
            at,
            log_ms,
            ttl_ms,
            lasts_ms: lasts_ms(ttl_ms),
            is_heartbeat,
        };
        let sign = |is_heartbeat| sign_of(is_heartbeat, settings.ttl_ms);
        let max_age_ms = settings.max_age_ms().unwrap_or(u64::MAX);
        let lives = self.lives.entry(key.clone()).or_default();
        let event = match entry {
            Entry::Player { event, .. } => Some(event),
            Entry::Batch(_) | Entry::Internal(_) => None,
        };
        if let Some(PlayerEvent::Heartbeat(heartbeat)) = event {
            let life = lives.entry(heartbeat.stream).or_default();
            // A replica that lacks the stop of the stream keeps the longest TTL.
            let longest = life.heard.map_or(0, |sign| sign.ttl_ms);
            life.heard = Some(sign_of(true, settings.ttl_ms.max(longest)));
        }
        // Streams with a new tombstone, and active ones that were ended.
        let mut stopped = Vec::new();
        let mut ended = Vec::new();
        match (entry, applied) {
            (
                Entry::Player {
                    event: PlayerEvent::Heartbeat(heartbeat),
                    ..
                },
                Applied::Heartbeat(outcome),
            ) => {
                let life = lives.entry(heartbeat.stream).or_default();
                match outcome {
                    HeartbeatOutcome::Started { .. } => life.live(sign(true)),
                    HeartbeatOutcome::Refreshed { .. } => {
                        // A shorter TTL takes effect when the player states a short enough
                        // interval.
                        let every_now = settings.heartbeat_every_ms;
                        let every_ms = heartbeat.every_ms;
                        let knows = every_ms.is_some_and(|ms| u64::from(ms) <= every_now);
                        let ttl_ms = if knows {
                            settings.ttl_ms
                        } else {
                            settings.ttl_ms.max(life.ttl_ms)
                        };
                        assert!(life.age_ms(log_ms) <= max_age_ms, "too old: {life:?}");
                        life.live(sign_of(true, ttl_ms));
                    }
                    HeartbeatOutcome::Stopped(cause) if life.is_active(log_ms) => {
                        assert_eq!(cause.reason, StoppedReason::TooOld);
                        assert!(life.age_ms(log_ms) > max_age_ms, "not too old: {life:?}");
                        ended.push((heartbeat.stream, EventKind::TooOld));
                    }
                    HeartbeatOutcome::Stopped(_) => life.stays_stopped(log_ms, settings),
                    HeartbeatOutcome::Dropped(_) => {}
                }
            }
            (
                Entry::Player {
                    event: PlayerEvent::Stop(stop),
                    ..
                },
                Applied::Stop(outcome),
            ) => match stop.target {
                StopTarget::One(stream) => {
                    let life = lives.entry(stream).or_default();
                    let was_active = life.is_active(log_ms);
                    assert_eq!(*outcome == StopOutcome::Ended, was_active, "{stream}");
                    match outcome {
                        StopOutcome::Ended => ended.push((stream, EventKind::Stopped)),
                        StopOutcome::Tombstoned => stopped.push(stream),
                        StopOutcome::Unchanged => life.named = true,
                    }
                }
                StopTarget::All => {
                    for (id, life) in lives.iter_mut() {
                        if life.is_active(log_ms) {
                            ended.push((*id, EventKind::Stopped));
                        }
                        life.named = true;
                    }
                    assert_eq!(*outcome == StopOutcome::Ended, !ended.is_empty());
                }
            },
            (Entry::Internal(InternalEntry { body, .. }), Applied::Open(outcome)) => {
                let Internal::Open(open) = body else {
                    return Vec::new();
                };
                let account = self.replica.account(key).unwrap_or_default();
                let tombstones = account.tombstones().iter();
                let too_old = tombstones.filter(|t| t.reason == StoppedReason::TooOld);
                for tombstone in too_old {
                    let life = lives.entry(tombstone.id).or_default();
                    if life.is_active(log_ms) {
                        assert!(life.age_ms(log_ms) > max_age_ms, "not too old: {life:?}");
                        ended.push((tombstone.id, EventKind::TooOld));
                    }
                }
                lives.entry(open.stream).or_default().heard = Some(sign(false));
                if open.terms.is_some() {
                    // A replica without the log's beginning may end others.
                    lives.values_mut().for_each(|life| life.named = true);
                }
                for named in &open.replace {
                    lives.entry(*named).or_default().named = true;
                }
                if let OpenOutcome::Opened { replaced } = outcome {
                    ended.extend(replaced.iter().map(|id| (*id, EventKind::Replaced)));
                    let given_way = replaced.iter().filter(|id| !open.replace.contains(id));
                    self.given_way += given_way.count() as u64;
                    let life = lives.entry(open.stream).or_default();
                    assert!(life.age_ms(log_ms) <= max_age_ms || !life.is_active(log_ms));
                    life.live(sign(false));
                    let state = |id| account.state_of(id, LogTime(log_ms));
                    let is_stopped = |id: &&StreamId| state(**id) == StreamState::Stopped;
                    stopped.extend(open.replace.iter().filter(is_stopped));
                }
            }
            _ => {}
        }
        self.too_old += ended
            .iter()
            .filter(|(_, w)| *w == EventKind::TooOld)
            .count() as u64;
        for id in stopped.iter().chain(ended.iter().map(|(id, _)| id)) {
            let life = lives.entry(*id).or_default();
            if life.stopped_until <= log_ms {
                if !life.is_active(log_ms) {
                    life.ttl_ms = 0;
                }
                life.stays_stopped(log_ms, settings);
            }
            life.signs.clear();
            life.ended.get_or_insert(at);
        }
        ended
    }

    /// Checks a decision on a proposal, and that a repetition of a refused one is refused too.
    fn check_admission(
        &mut self,
        log_ms: u64,
        entry: &Entry,
        applied: &Applied,
        before: Option<&Account>,
        after: Option<&Account>,
        ended: &[(StreamId, EventKind)],
    ) {
        let (
            Entry::Internal(InternalEntry {
                body: Internal::Open(open),
                ..
            }),
            Applied::Open(outcome),
            Some(settings),
        ) = (entry, applied, self.replica.settings())
        else {
            return;
        };
        let nothing = Account::default();
        let too_old = ended.iter().filter(|(_, what)| *what == EventKind::TooOld);
        let too_old: Vec<StreamId> = too_old.map(|(id, _)| *id).collect();
        let decided = Decided::new(
            open,
            LogTime(log_ms),
            before.unwrap_or(&nothing),
            after.unwrap_or(&nothing),
            &too_old,
        );
        if let Some((until, reason)) = self.refused.get(&open.request)
            && log_ms < *until
            && *reason != RefusedReason::OverCapacity
            && *outcome != OpenOutcome::Late
        {
            let again = OpenOutcome::Refused {
                reason: *reason,
                is_remembered: true,
            };
            assert_eq!(*outcome, again, "a refusal was decided twice: {open:?}");
            return decided.changes_nothing();
        }
        match outcome {
            OpenOutcome::Opened { replaced } => decided.is_exact(replaced),
            OpenOutcome::Refused { reason, .. } => {
                decided.changes_nothing();
                if matches!(reason, RefusedReason::MaxActive | RefusedReason::Limits) {
                    decided.is_refused_for_a_reason();
                    let terms = open.terms.as_deref();
                    let refuses = terms.is_none_or(|it| it.on_limit == OnLimit::Refuse);
                    assert!(refuses, "refused instead of replacing: {open:?}");
                }
                let until = log_ms + settings.refusal_ms();
                self.refused.entry(open.request).or_insert((until, *reason));
            }
            OpenOutcome::Late => {
                assert!(log_ms > open.not_after.0);
                decided.changes_nothing();
            }
        }
    }
}

/// The time from a heartbeat to the deadline.
fn lasts_ms(ttl_ms: u64) -> u64 {
    ttl_ms + 2 * Settings::interval_for(ttl_ms)
}
