//! Published lifecycle events against those of the observer.

use std::collections::{BTreeMap, HashMap, HashSet};

use streamwatch::domain::{
    Account, AccountKey, Announcement, Entry, ExpiryCause, HeartbeatOutcome, Internal,
    InternalEntry, LifecycleEventKind, OpenOutcome, PlayerEvent, Rules, Settings, StoppedReason,
    StreamId, WallTime,
};

use streamwatch::replica::Applied;

/// The kind of a lifecycle event. Its cause is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Started by a heartbeat.
    Counted,
    /// Started by an `init`, or admitted by one under rules 1.
    Opened,
    Admitted,
    Refused,
    Stopped,
    Replaced,
    Expired,
    TooOld,
}

/// An expected event: its kind, stream and entry.
pub type Happened = (u64, StreamId, EventKind);

/// Expected events, computed by the observer.
#[derive(Default)]
pub struct Happenings {
    pub all: Vec<Happened>,
    /// The deadline of each active stream.
    deadlines: BTreeMap<StreamId, u64>,
}

impl Happenings {
    /// Advances log time to `log_ms` by the entry at `offset`.
    pub fn time(&mut self, offset: u64, log_ms: u64) {
        let all = &mut self.all;
        self.deadlines.retain(|stream, deadline| {
            let over = *deadline <= log_ms;
            if over {
                all.push((offset, *stream, EventKind::Expired));
            }
            !over
        });
    }

    /// Adds the events of an entry: the streams that it ended, and its own. `before` are the
    /// records of its account. A heartbeat keeps a stream active for `lasts_ms`.
    pub fn entry(&mut self, offset: u64, happened: &Applying, ended: &[(StreamId, EventKind)]) {
        let Applying {
            entry,
            applied,
            before,
            log_ms,
            lasts_ms,
            settings,
        } = *happened;
        for (stream, what) in ended {
            let was_active = self.deadlines.remove(stream).is_some();
            if was_active {
                self.all.push((offset, *stream, *what));
            }
        }
        let mut happens = |stream, what| self.all.push((offset, stream, what));
        let until = log_ms + lasts_ms;
        match (entry, applied) {
            (
                Entry::Player {
                    event: PlayerEvent::Heartbeat(heartbeat),
                    ..
                },
                Applied::Heartbeat(outcome),
            ) => match outcome {
                HeartbeatOutcome::Started { .. } => {
                    happens(heartbeat.stream, EventKind::Counted);
                    self.deadlines.insert(heartbeat.stream, until);
                }
                HeartbeatOutcome::Refreshed { .. } => {
                    self.deadlines.insert(heartbeat.stream, until);
                }
                HeartbeatOutcome::Stopped(_) | HeartbeatOutcome::Dropped(_) => {}
            },
            (Entry::Internal(InternalEntry { body, .. }), Applied::Open(outcome)) => {
                let Internal::Open(open) = body else { return };
                let counted = self.deadlines.contains_key(&open.stream);
                let mut known = before.streams().iter();
                let admitted = counted
                    && known.any(|s| s.id == open.stream && s.ttl_and_admission.is_admitted());
                match outcome {
                    OpenOutcome::Opened { .. } => {
                        match (counted, settings.rules()) {
                            _ if admitted => {}
                            (true, Rules::V2) => happens(open.stream, EventKind::Admitted),
                            _ => happens(open.stream, EventKind::Opened),
                        }
                        self.deadlines.insert(open.stream, until);
                    }
                    OpenOutcome::Refused { is_remembered, .. } => {
                        if !is_remembered {
                            happens(open.stream, EventKind::Refused);
                        }
                    }
                    OpenOutcome::Late => {}
                }
            }
            _ => {}
        }
    }
}

/// The application of an entry.
#[derive(Clone, Copy)]
pub struct Applying<'a> {
    pub entry: &'a Entry,
    pub applied: &'a Applied,
    /// The records of its account before it.
    pub before: &'a Account,
    pub log_ms: u64,
    /// The time from a heartbeat to the deadline of its stream.
    pub lasts_ms: u64,
    pub settings: &'a Settings,
}

/// Published events.
#[derive(Default)]
pub struct Lifecycle {
    /// Published events by identity: kind, stream and cause.
    published: HashMap<(EventKind, StreamId, u64), Announcement>,
    /// The offset and wall time of each account's latest event, repetitions apart.
    last: HashMap<AccountKey, (u64, WallTime)>,
    /// The offset from which on rules 2 are in force, and the count of each account's latest event.
    rules_2_from: Option<u64>,
    counts: HashMap<AccountKey, u32>,
    counted: u64,
    doubtful: bool,
    repeats: u64,
}

impl Lifecycle {
    /// Whether entries were lost, or published by a replica without the log's beginning.
    pub fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Notes the rules that an entry sets.
    pub fn note_rules(&mut self, offset: u64, entry: &Entry) {
        if let Entry::Internal(InternalEntry {
            body: Internal::Settings { settings, .. },
            ..
        }) = entry
            && settings.rules() == Rules::V2
        {
            self.rules_2_from.get_or_insert(offset);
        }
    }

    /// Number of checked counts.
    pub fn counts(&self) -> u64 {
        self.counted
    }

    /// Number of repeated events.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Checks a published event: a new one is in order, a repetition is identical.
    pub fn published(&mut self, announcement: &Announcement) {
        if self.doubtful {
            return;
        }
        let what = what(announcement);
        let cause = match announcement.event.kind {
            LifecycleEventKind::Expired {
                cause: ExpiryCause::Deadline(deadline),
                ..
            } => deadline.0,
            _ => announcement.offset,
        };
        let of = (what, announcement.event.stream, cause);
        if let Some(first) = self.published.get(&of) {
            assert_eq!(announcement, first, "a repeated event differs");
            self.repeats += 1;
            return;
        }
        let this = (announcement.offset, announcement.event.at);
        let last = self.last.entry(announcement.key.clone()).or_insert(this);
        assert!(
            last.0 <= this.0 && last.1 <= this.1,
            "out of order: {announcement:?} after {last:?}"
        );
        *last = this;
        assert!(started_at(announcement) <= this.1, "{announcement:?}");
        self.check_count(announcement, what);
        self.published.insert(of, announcement.clone());
    }

    /// Checks that the count of an event is that of the event before it, plus what it changes.
    fn check_count(&mut self, announcement: &Announcement, what: EventKind) {
        let Announcement { offset, count, .. } = *announcement;
        let before = self.counts.insert(announcement.key.clone(), count);
        let exact = self.rules_2_from.is_some_and(|from| offset >= from);
        let change = match what {
            EventKind::Counted | EventKind::Opened => 1,
            EventKind::Admitted | EventKind::Refused => 0,
            EventKind::Stopped | EventKind::Replaced | EventKind::Expired | EventKind::TooOld => -1,
        };
        if exact {
            let before = before.unwrap_or(0) as i32;
            assert_eq!(count as i32, before + change, "{announcement:?}");
            self.counted += 1;
        }
    }

    /// Checks that exactly the expected events were published.
    pub fn check(&self, happened: &[Happened], before: u64) {
        if self.doubtful {
            return;
        }
        let published = self.published.iter();
        let published: HashSet<Happened> =
            published.map(|((w, s, _), a)| (a.offset, *s, *w)).collect();
        let must = happened.iter().filter(|(offset, ..)| *offset < before);
        for one in must {
            assert!(published.contains(one), "never published: {one:?}");
        }
        let happened: HashSet<Happened> = happened.iter().copied().collect();
        for one in &published {
            assert!(happened.contains(one), "published without cause: {one:?}");
        }
    }
}

fn started_at(announcement: &Announcement) -> WallTime {
    match announcement.event.kind {
        LifecycleEventKind::Opened { started_at, .. }
        | LifecycleEventKind::Admitted { started_at }
        | LifecycleEventKind::Stopped { started_at, .. } => started_at,
        LifecycleEventKind::Expired {
            started_at,
            last_seen,
            ..
        } => started_at.max(last_seen),
        LifecycleEventKind::Refused { .. } => announcement.event.at,
    }
}

fn what(announcement: &Announcement) -> EventKind {
    match announcement.event.kind {
        LifecycleEventKind::Opened { admitted: true, .. } => EventKind::Opened,
        LifecycleEventKind::Admitted { .. } => EventKind::Admitted,
        LifecycleEventKind::Opened { .. } => EventKind::Counted,
        LifecycleEventKind::Refused { .. } => EventKind::Refused,
        LifecycleEventKind::Stopped { reason, .. } => match reason {
            StoppedReason::Stopped => EventKind::Stopped,
            StoppedReason::Replaced => EventKind::Replaced,
            StoppedReason::TooOld => panic!("it has expired: {announcement:?}"),
        },
        LifecycleEventKind::Expired { cause, .. } => match cause {
            ExpiryCause::Deadline(_) => EventKind::Expired,
            ExpiryCause::TooOld => EventKind::TooOld,
        },
    }
}
