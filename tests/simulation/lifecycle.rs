//! Published lifecycle events against those of the observer.

use std::collections::{BTreeMap, HashMap, HashSet};

use streamwatch::domain::{
    Account, AccountKey, Announcement, Entry, HeartbeatOutcome, Internal, LifecycleEventKind,
    LogTime, OpenOutcome, StopOutcome, StoppedReason, StreamId, WallTime,
};

use streamwatch::replica::Applied;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    Counted,
    Admitted,
    Refused,
    Stopped,
    Replaced,
    Expired,
}

/// An expected event: its kind, stream and entry.
pub type Happened = (u64, StreamId, What);

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
                all.push((offset, *stream, What::Expired));
            }
            !over
        });
    }

    /// Adds the events of an entry of an account whose records were `before`. A heartbeat keeps a
    /// stream active for `lasts_ms`.
    pub fn entry(
        &mut self,
        offset: u64,
        entry: &Entry,
        applied: &Applied,
        before: &Account,
        log_ms: u64,
        lasts_ms: u64,
    ) {
        let mut happens = |stream, what| self.all.push((offset, stream, what));
        let until = log_ms + lasts_ms;
        match (entry, applied) {
            (Entry::Heartbeat { stream, .. }, Applied::Heartbeat(outcome)) => match outcome {
                HeartbeatOutcome::Started { .. } => {
                    happens(*stream, What::Counted);
                    self.deadlines.insert(*stream, until);
                }
                HeartbeatOutcome::Refreshed { .. } => {
                    self.deadlines.insert(*stream, until);
                }
                HeartbeatOutcome::Stopped(_) | HeartbeatOutcome::Dropped(_) => {}
            },
            (Entry::Stop { stream, .. }, Applied::Stop(StopOutcome::Ended)) => {
                happens(*stream, What::Stopped);
                self.deadlines.remove(stream);
            }
            (Entry::Internal { body, .. }, Applied::Open(outcome)) => {
                let Internal::Open(open) = body else { return };
                let counted = self.deadlines.contains_key(&open.stream);
                let mut known = before.streams().iter();
                let admitted = counted && known.any(|s| s.id == open.stream && s.admitted);
                match outcome {
                    OpenOutcome::Opened => {
                        for replaced in &open.replace {
                            if self.deadlines.remove(replaced).is_some() {
                                happens(*replaced, What::Replaced);
                            }
                        }
                        if !admitted {
                            happens(open.stream, What::Admitted);
                        }
                        self.deadlines.insert(open.stream, until);
                    }
                    OpenOutcome::Refused(_) => {
                        let mut remembered = before.refusals().iter();
                        let again = remembered
                            .any(|r| r.request == open.request && LogTime(log_ms) < r.until);
                        if !again {
                            happens(open.stream, What::Refused);
                        }
                    }
                    OpenOutcome::Late => {}
                }
            }
            _ => {}
        }
    }
}

/// Published events.
#[derive(Default)]
pub struct Lifecycle {
    /// Published events by identity: kind, stream and cause.
    published: HashMap<(What, StreamId, u64), Announcement>,
    /// The offset and wall time of each account's latest event, repetitions apart.
    last: HashMap<AccountKey, (u64, WallTime)>,
    doubtful: bool,
    repeats: u64,
}

impl Lifecycle {
    /// Whether entries were lost, or published by a replica without the log's beginning.
    pub fn doubt(&mut self) {
        self.doubtful = true;
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
            LifecycleEventKind::Expired { deadline, .. } => deadline.0,
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
        self.published.insert(of, announcement.clone());
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
        | LifecycleEventKind::Stopped { started_at, .. } => started_at,
        LifecycleEventKind::Expired {
            started_at,
            last_seen,
            ..
        } => started_at.max(last_seen),
        LifecycleEventKind::Refused { .. } => announcement.event.at,
    }
}

fn what(announcement: &Announcement) -> What {
    match announcement.event.kind {
        LifecycleEventKind::Opened { admitted: true, .. } => What::Admitted,
        LifecycleEventKind::Opened { .. } => What::Counted,
        LifecycleEventKind::Refused { .. } => What::Refused,
        LifecycleEventKind::Stopped { reason, .. } => match reason {
            StoppedReason::Stopped => What::Stopped,
            StoppedReason::Replaced => What::Replaced,
        },
        LifecycleEventKind::Expired { .. } => What::Expired,
    }
}
