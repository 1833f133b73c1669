//! Applies a script to the accounts and the model, and compares every answer after every step.

use streamwatch::domain::{
    Account, AccountId, AccountKey, Announcement, Batch, BatchEvent, Condition, GivenReason,
    Heartbeat, HeartbeatOutcome, LifecycleEvent, Limit, LogTime, Metadata, MetadataPatch, Moment,
    OnLimit, Open, OpenOutcome, PlayerEvent, Refused, RequestId, Rules, Settings, Stop,
    StopOutcome, StreamId, Tenant, Terms, WallShift,
};
use uuid::Uuid;

use crate::{
    naive::{Active, History},
    script::{self, STREAMS, Step},
};

#[derive(Clone, Debug)]
enum Entry {
    Open(Open),
    Player(PlayerEvent),
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Open(OpenOutcome),
    Heartbeat(HeartbeatOutcome),
    Stop(StopOutcome),
    /// With the description of the refusal.
    Refused(OpenOutcome, Refused),
}

struct Run {
    key: AccountKey,
    model: History,
    swept: Account,
    unswept: Account,
    entries: Vec<Entry>,
    now: u64,
    settings: Settings,
    full: bool,
    shift: WallShift,
}

pub fn run(script: &[Step]) {
    let mut run = Run {
        key: AccountKey::new(
            &Tenant::new("acme").unwrap(),
            &AccountId::new("alice").unwrap(),
        ),
        model: History::default(),
        swept: Account::default(),
        unswept: Account::default(),
        entries: Vec::new(),
        now: 0,
        settings: Settings::default(),
        full: false,
        shift: WallShift(1_700_000_000_000),
    };
    for step in script {
        run.step(step);
        run.compare();
    }
}

impl Run {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Wait(ms) => self.pass(self.now + ms),
            Step::WaitUntilAnEnd { which, offset } => {
                let ends = self.model.ends(self.now);
                if !ends.is_empty() {
                    let end = ends[which % ends.len()];
                    self.pass(end.saturating_add_signed(*offset).max(self.now));
                }
            }
            Step::Open(open) => self.entry(Entry::Open(self.proposal(open))),
            Step::Heartbeat {
                stream,
                every_ms,
                metadata,
            } => {
                let heartbeat = Heartbeat {
                    stream: id(*stream),
                    every_ms: *every_ms,
                    metadata: metadata.as_ref().map(patch),
                };
                self.entry(Entry::Player(heartbeat.into()));
            }
            Step::Stop(stream, reason) => {
                let reason = reason.map(|n| Ok(given(n)));
                let stop = Stop {
                    reason,
                    ..Stop::of(id(*stream))
                };
                self.entry(Entry::Player(stop.into()));
            }
            Step::StopAll(reason) => {
                let stop = Stop::of_all(reason.map(given));
                self.entry(Entry::Player(stop.into()));
            }
            Step::Batch(events) => self.batch(events),
            Step::Again(which) => {
                if !self.entries.is_empty() {
                    self.entry(self.entries[which % self.entries.len()].clone());
                }
            }
            Step::Sweep => self.sweep(),
            Step::Ttl(ms) => self.settings.ttl_ms = *ms,
            Step::Every(ms) => self.settings.heartbeat_every_ms = *ms,
            Step::StreamsPerAccount(n) => self.settings.max_streams_per_account = *n,
            Step::TombstonesPerAccount(n) => self.settings.max_tombstones_per_account = *n,
            Step::RefusalsPerAccount(n) => self.settings.max_refusals_per_account = *n,
            Step::Full(full) => self.full = *full,
            Step::Rules(rules) => self.settings.rules = *rules,
            Step::MaxAge(ms) => self.settings.max_stream_age_ms = *ms,
            Step::Shift(by) => self.shift.0 += by,
        }
    }

    /// Advances time and compares the expiries, in any order.
    fn pass(&mut self, to: u64) {
        self.model.pass(self.now, to, self.shift);
        let by_stream = |event: &LifecycleEvent| event.stream;
        let mut expected = std::mem::take(&mut self.model.emitted);
        let counts = self.model.counted(&expected);
        expected.sort_by_key(by_stream);
        for account in [&self.swept, &self.unswept] {
            let mut expired = Vec::new();
            account.expired(LogTime(self.now), LogTime(to), self.shift, &mut expired);
            expired.sort_by_key(by_stream);
            assert_eq!(expired, expected, "at {to}");
            let active = account.count(LogTime(to));
            assert_eq!(running_counts(expired, active), counts, "at {to}");
        }
        self.now = to;
    }

    /// Applies the account's events of a batch. The batch has grouped them by account; the expected
    /// order is that of the message.
    fn batch(&mut self, events: &[script::Event]) {
        let other = AccountKey::of("acme", "bob").unwrap();
        let of_message = events.iter().zip(0..).map(|(event, index)| BatchEvent {
            index,
            key: if event.is_own { &self.key } else { &other }.clone(),
            event: match event.is_stop {
                true => Stop::of(id(event.stream)).into(),
                false => Heartbeat {
                    metadata: event.metadata.map(|it| metadata(it).into()),
                    ..Heartbeat::of(id(event.stream))
                }
                .into(),
            },
        });
        let batch = Batch::new(0, None, of_message.collect(), Vec::new());
        let mut groups = batch.by_account();
        let own = groups.find(|(key, _)| **key == self.key);
        let own: Vec<_> = own.map_or(&[][..], |(_, own)| own).to_vec();
        let expected: Vec<_> = events.iter().filter(|event| event.is_own).collect();
        assert_eq!(
            own.len(),
            expected.len(),
            "all events of an account are together"
        );
        for (event, expected) in own.into_iter().zip(expected) {
            assert_eq!(
                event.event.stream(),
                Some(id(expected.stream)),
                "in the order of the message"
            );
            self.entry(Entry::Player(event.event));
        }
    }

    fn proposal(&self, open: &script::Open) -> Open {
        Open {
            key: self.key.clone(),
            stream: id(open.stream),
            request: RequestId(Uuid::from_u128(open.request.into())),
            not_after: LogTime(self.now + open.valid_ms),
            max_active: open.max_active,
            replace: open.replace.iter().map(|n| id(*n)).collect(),
            metadata: metadata(open.metadata),
            terms: open.terms.as_ref().map(|it| Box::new(terms(it))),
        }
    }

    fn entry(&mut self, entry: Entry) {
        let field = match &entry {
            Entry::Open(open) => open.field_of_rules_2(),
            Entry::Player(event) => event.field_of_rules_2(),
        };
        if !self.settings.rules().accept(field) {
            return; // replicas reject it
        }
        let moment = Moment {
            now: LogTime(self.now),
            shift: self.shift,
            settings: &self.settings,
            full: self.full,
        };
        let model = &mut self.model;
        let expected = match &entry {
            Entry::Open(open) => {
                let outcome = model.open(&moment, open);
                match model.describe_refusal(&moment, open, &outcome) {
                    Some(refusal) => Outcome::Refused(outcome, refusal),
                    None => Outcome::Open(outcome),
                }
            }
            Entry::Player(PlayerEvent::Heartbeat(heartbeat)) => {
                Outcome::Heartbeat(model.heartbeat(&moment, heartbeat))
            }
            Entry::Player(PlayerEvent::Stop(stop)) => Outcome::Stop(model.stop(&moment, stop)),
        };
        let expected_events = std::mem::take(&mut model.emitted);
        let counts = model.counted(&expected_events);
        for (account, which) in [(&mut self.swept, "swept"), (&mut self.unswept, "unswept")] {
            let mut events = Vec::new();
            let outcome = match &entry {
                Entry::Open(open) => match account.open(&moment, open, &mut events) {
                    OpenOutcome::Refused {
                        reason,
                        is_remembered,
                    } => {
                        let outcome = OpenOutcome::Refused {
                            reason,
                            is_remembered,
                        };
                        let refusal =
                            account.describe_refusal(&moment, open, reason, is_remembered);
                        Outcome::Refused(outcome, refusal)
                    }
                    outcome => Outcome::Open(outcome),
                },
                Entry::Player(PlayerEvent::Heartbeat(heartbeat)) => {
                    Outcome::Heartbeat(account.heartbeat(&moment, heartbeat, &mut events))
                }
                Entry::Player(PlayerEvent::Stop(stop)) => {
                    Outcome::Stop(account.stop(&moment, stop, &mut events))
                }
            };
            if self.settings.rules() == Rules::V2 {
                let running = running_counts(events.clone(), account.count(moment.now));
                assert_eq!(running, counts, "{which}, {entry:?} at {}", self.now);
            }
            assert_eq!(outcome, expected, "{which}, {entry:?} at {}", self.now);
            assert_eq!(
                events, expected_events,
                "{which}, {entry:?} at {}",
                self.now
            );
        }
        self.entries.push(entry);
    }

    /// Removes old records, and checks that exactly those are removed.
    fn sweep(&mut self) {
        self.swept.sweep(LogTime(self.now));
        assert_eq!(self.swept.records(), self.model.records(self.now));
        let has_records = self.model.has_records(self.now);
        assert_eq!(self.swept.is_empty(), !has_records);
        let next = self.swept.next_change(LogTime(self.now));
        assert_eq!(next.is_some(), has_records, "an empty account is freed");
    }

    /// Checks that a snapshot contains all records of an account.
    fn compare_records(&self) {
        for account in [&self.swept, &self.unswept] {
            let streams = account.streams().to_vec();
            let tombstones = account.tombstones().to_vec();
            let refusals = account.refusals().to_vec();
            let again = Account::from_records(streams, tombstones, refusals);
            assert_eq!(again, *account);
        }
    }

    fn compare(&self) {
        self.compare_records();
        let swept_next = self.swept.next_change(LogTime(self.now));
        let ahead = [0, 1, 30_000, 92_000].map(|ms| self.now + ms);
        let just_before = swept_next.map(|t| t.0.saturating_sub(1).max(self.now));
        for at in ahead.into_iter().chain(just_before) {
            self.compare_at(at);
        }
        // No stream changes its state before the next change.
        if let Some(before) = just_before {
            for n in 0..STREAMS {
                let state = |at| self.model.state_of(id(n), at);
                assert_eq!(
                    state(before),
                    state(self.now),
                    "{n} changes before {before}"
                );
            }
        }
    }

    fn compare_at(&self, at: u64) {
        let expected = self.model.active(at);
        for (account, which) in [(&self.swept, "swept"), (&self.unswept, "unswept")] {
            let activity = account.activity(&self.key, LogTime(at), self.shift);
            assert_eq!(activity.as_of, self.shift.show(LogTime(at)));
            assert_eq!(account.count(LogTime(at)), activity.streams.len());
            for (stream, naive) in activity.streams.iter().zip(&expected) {
                // A stream's last heartbeat is never shown before its start, even if the shift
                // changes.
                let shown = self.shift.show(naive.last_seen).max(naive.started_at);
                assert_eq!(stream.last_seen, shown, "{which} at {at}");
            }
            let streams = activity.streams.into_iter().zip(&expected);
            let streams: Vec<Active> = streams
                .map(|(s, naive)| Active {
                    stream: s.stream,
                    admitted: s.admitted,
                    started_at: s.started_at,
                    last_seen: naive.last_seen,
                    expires_in_ms: s.expires_in_ms,
                    metadata: s.metadata,
                })
                .collect();
            assert_eq!(account.count(LogTime(at)), expected.len());
            assert_eq!(streams, expected, "{which} at {at}");
            for n in 0..STREAMS {
                let state = account.state_of(id(n), LogTime(at));
                assert_eq!(
                    state,
                    self.model.state_of(id(n), at),
                    "{n}, {which} at {at}"
                );
            }
        }
    }
}

/// The number of active streams after each event, of which `active` are left.
fn running_counts(mut events: Vec<LifecycleEvent>, active: usize) -> Vec<u32> {
    let key = AccountKey::of("acme", "alice").unwrap();
    let announcements = Announcement::of_events(0, &key, Rules::V2, &mut events, active);
    announcements.map(|it| it.count).collect()
}

fn id(n: u8) -> StreamId {
    StreamId(Uuid::from_u128(n.into()))
}

const KEYS: [&str; 2] = ["device", "kind"];

fn metadata(values: script::Metadata) -> Metadata {
    let pairs = KEYS.into_iter().zip(values).filter(|(_, n)| *n > 0);
    let mut pairs: Vec<_> = pairs.map(|(key, n)| (key, n.to_string())).collect();
    Metadata::new(&mut pairs).unwrap()
}

fn patch(patch: &script::Patch) -> MetadataPatch {
    match patch {
        script::Patch::Strings(values) => metadata(*values).into(),
        script::Patch::Merge(values, removed) => {
            let removed = removed.map(usize::from).filter(|n| values[*n] == 0);
            let removed = removed.map(|n| KEYS[n].into()).into_iter().collect();
            MetadataPatch::merge(metadata(*values), removed).unwrap()
        }
        script::Patch::Invalid => MetadataPatch::Invalid,
    }
}

fn given(n: u8) -> GivenReason {
    GivenReason::new(&n.to_string()).unwrap()
}

fn terms(terms: &script::Terms) -> Terms {
    let limits = terms.limits.iter().map(|limit| Limit {
        max: limit.max,
        distinct: limit.is_distinct.then(|| "device".into()),
        conditions: match &limit.kinds[..] {
            [] => Vec::new(),
            kinds => vec![Condition {
                key: "kind".into(),
                values: kinds.iter().map(|n| n.to_string().into()).collect(),
            }],
        },
    });
    let same = KEYS.into_iter().zip(terms.same).filter(|(_, used)| *used);
    Terms {
        limits: limits.collect(),
        same: same.map(|(key, _)| key.into()).collect(),
        on_limit: match terms.replaces_oldest {
            true => OnLimit::ReplaceOldest,
            false => OnLimit::Refuse,
        },
        reason: terms.reason.map(given),
    }
}
