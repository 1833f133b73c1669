//! The observer applies every entry when the log stores it, without delay or fault. Every replica
//! must reach its state, and it checks each entry against the promises.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use streamwatch::{
    domain::{
        Account, AccountKey, Entry, HeartbeatOutcome, Internal, LogTime, Open, OpenOutcome,
        RefusedReason, RequestId, Settings, StopOutcome, StreamId, StreamState, WallShift,
    },
    replica::{Applied, Now, Replica},
};

use crate::{
    batches::single,
    full::Full,
    life::{Life, Sign},
    lifecycle::Happenings,
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
    refused: HashMap<RequestId, (u64, RefusedReason)>,
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
            if let Entry::Internal { body, .. } = entry
                && let Internal::Capacity(change) = body
            {
                self.full.note(change, log_ms);
            }
            if let (Entry::Batch(batch), Applied::Batch(outcomes)) = (entry, &row.applied) {
                let counted: u64 = row.counters.bad.iter().sum();
                let rejected = counted - bad.iter().sum::<u64>();
                assert_eq!(rejected, batch.rejected().len() as u64);
                // As if each event were an entry of its own.
                assert_eq!(batch.events().len(), outcomes.len());
                for (event, outcome) in batch.events().iter().zip(outcomes) {
                    assert_ne!(*outcome, Applied::Skipped, "{event:?} was not applied");
                    let entry = single(event);
                    self.note(at, log_ms, &event.key, &entry, outcome);
                    self.note_happenings(log_ms, &entry, outcome, None);
                }
            } else {
                if let Some((key, _)) = row.accounts.first() {
                    self.note(at, log_ms, key, entry, &row.applied);
                }
                self.note_happenings(log_ms, entry, &row.applied, before.as_ref());
            }
            if let (Entry::Internal { body, .. }, Applied::Open(outcome)) = (entry, &row.applied)
                && let Internal::Open(open) = body
            {
                let after = row.accounts.first().and_then(|(_, a)| a.clone());
                self.check_admission(
                    log_ms,
                    open,
                    *outcome,
                    &before.unwrap_or_default(),
                    &after.unwrap_or_default(),
                );
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
    ) {
        let offset = self.rows.len() as u64;
        self.happened.time(offset, log_ms);
        if let Some(settings) = self.replica.settings() {
            let stream = match entry {
                Entry::Heartbeat { key, stream, .. } => {
                    self.lives.get(key).and_then(|l| l.get(stream))
                }
                _ => None,
            };
            let ttl_ms = stream.map_or(settings.ttl_ms, |life| life.ttl_ms);
            let lasts_ms = lasts_ms(ttl_ms);
            let nothing = Account::default();
            let before = before.unwrap_or(&nothing);
            let happened = &mut self.happened;
            happened.entry(offset, entry, applied, before, log_ms, lasts_ms);
        }
    }

    fn note(&mut self, at: u64, log_ms: u64, key: &AccountKey, entry: &Entry, applied: &Applied) {
        let Some(settings) = self.replica.settings() else {
            return;
        };
        let sign_of = |is_heartbeat, ttl_ms| Sign {
            at,
            log_ms,
            ttl_ms,
            lasts_ms: lasts_ms(ttl_ms),
            is_heartbeat,
        };
        let sign = |is_heartbeat| sign_of(is_heartbeat, settings.ttl_ms);
        let lives = self.lives.entry(key.clone()).or_default();
        if let Entry::Heartbeat { stream, .. } = entry {
            let life = lives.entry(*stream).or_default();
            // A replica that lacks the stop of the stream keeps the longest TTL.
            let longest = life.heard.map_or(0, |sign| sign.ttl_ms);
            life.heard = Some(sign_of(true, settings.ttl_ms.max(longest)));
        }
        let mut ended = Vec::new();
        match (entry, applied) {
            (
                Entry::Heartbeat { stream, .. },
                Applied::Heartbeat(HeartbeatOutcome::Started { .. }),
            ) => lives.entry(*stream).or_default().live(sign(true)),
            (
                Entry::Heartbeat {
                    stream, every_ms, ..
                },
                Applied::Heartbeat(HeartbeatOutcome::Refreshed { .. }),
            ) => {
                let life = lives.entry(*stream).or_default();
                // A shorter TTL takes effect when the player states a short enough interval.
                let knows = every_ms.is_some_and(|ms| u64::from(ms) <= settings.heartbeat_every_ms);
                let ttl_ms = if knows {
                    settings.ttl_ms
                } else {
                    settings.ttl_ms.max(life.ttl_ms)
                };
                life.live(sign_of(true, ttl_ms));
            }
            (Entry::Heartbeat { stream, .. }, Applied::Heartbeat(HeartbeatOutcome::Stopped(_))) => {
                let life = lives.entry(*stream).or_default();
                life.stays_stopped(log_ms, settings);
            }
            (Entry::Stop { stream, .. }, Applied::Stop(outcome)) => {
                let life = lives.entry(*stream).or_default();
                let was_active = life.is_active(log_ms);
                assert_eq!(*outcome == StopOutcome::Ended, was_active, "{stream}");
                if *outcome == StopOutcome::Unchanged {
                    life.named = true;
                } else {
                    ended.push(*stream);
                }
            }
            (Entry::Internal { body, .. }, Applied::Open(outcome)) => {
                if let Internal::Open(open) = body {
                    lives.entry(open.stream).or_default().heard = Some(sign(false));
                    for named in &open.replace {
                        lives.entry(*named).or_default().named = true;
                    }
                    if *outcome != OpenOutcome::Opened {
                        return;
                    }
                    lives.entry(open.stream).or_default().live(sign(false));
                    let state = |id| {
                        let account = self.replica.account(key).unwrap_or_default();
                        account.state_of(id, LogTime(log_ms))
                    };
                    let stopped = |id: &&StreamId| state(**id) == StreamState::Stopped;
                    ended.extend(open.replace.iter().filter(stopped));
                }
            }
            _ => {}
        }
        for id in ended {
            let life = self.lives.entry(key.clone()).or_default();
            let life = life.entry(id).or_default();
            if life.stopped_until <= log_ms {
                if !life.is_active(log_ms) {
                    life.ttl_ms = 0;
                }
                life.stays_stopped(log_ms, settings);
            }
            life.signs.clear();
            life.ended.get_or_insert(at);
        }
    }

    /// Checks that `max_active` admits exactly the limit, that a refusal changes no record, and
    /// that its repetition is refused too.
    fn check_admission(
        &mut self,
        log_ms: u64,
        open: &Open,
        outcome: OpenOutcome,
        before: &Account,
        after: &Account,
    ) {
        let active = |account: &Account| -> BTreeMap<StreamId, bool> {
            let activity = account.activity(&open.key, LogTime(log_ms), WallShift::default());
            let streams = activity.streams.into_iter();
            streams.map(|s| (s.stream, s.admitted)).collect()
        };
        let (before, after) = (active(before), active(after));
        let retry = before.get(&open.stream) == Some(&true);
        let mut others = before.clone();
        others.retain(|id, _| *id != open.stream && !open.replace.contains(id));
        if let Some((at, reason)) = self.refused.get(&open.request)
            && log_ms < at + 30_000
            && *reason != RefusedReason::OverCapacity
            && outcome != OpenOutcome::Late
        {
            let again = OpenOutcome::Refused(*reason);
            assert_eq!(outcome, again, "a refusal was decided twice: {open:?}");
            assert_eq!(before, after);
            return;
        }
        match outcome {
            OpenOutcome::Opened => {
                let mut expected = others;
                expected.insert(open.stream, true);
                assert_eq!(after, expected, "{open:?}");
                let max = open.max_active.unwrap_or(u32::MAX) as usize;
                assert!(
                    retry || after.len() <= max,
                    "{} active: {open:?}",
                    after.len()
                );
            }
            OpenOutcome::Refused(reason) => {
                assert_eq!(before, after, "a refusal changed something: {open:?}");
                if reason == RefusedReason::MaxActive {
                    let max = open.max_active.unwrap_or(u32::MAX) as usize;
                    assert!(
                        !retry && others.len() >= max,
                        "refused for no reason: {open:?}"
                    );
                }
                self.refused.entry(open.request).or_insert((log_ms, reason));
            }
            OpenOutcome::Late => {
                assert!(log_ms > open.not_after.0);
                assert_eq!(before, after);
            }
        }
    }
}

/// The time from a heartbeat to the deadline.
fn lasts_ms(ttl_ms: u64) -> u64 {
    ttl_ms + 2 * Settings::interval_for(ttl_ms)
}
