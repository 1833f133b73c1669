//! The naive model: a list of facts that only grows. Every question looks at all of it.

use streamwatch::domain::{
    Fact as Told, FactKind, HeartbeatOutcome, LogTime, Metadata, Moment, Open, OpenOutcome,
    RefusedReason, RequestId, Settings, StopOutcome, StoppedReason, StreamId, StreamState,
    WallShift, WallTime,
};

#[derive(Clone, Debug)]
enum Fact {
    Began(StreamId, WallTime),
    Sign(StreamId, At),
    Admitted(StreamId),
    Says(StreamId, Metadata),
    Ended(StreamId, StoppedReason),
    /// Since when, and for how long, a stopped stream is known to be stopped.
    StaysStopped(StreamId, At),
    StopForgotten(StreamId),
    Refused(RequestId, RefusedReason, u64),
    RefusalForgotten(RequestId),
}

/// A moment of log time and the TTL then.
#[derive(Clone, Copy, Debug)]
struct At {
    ms: u64,
    ttl_ms: u64,
}

impl At {
    fn deadline(self) -> u64 {
        self.ms + self.ttl_ms + 2 * (self.ttl_ms / 20).min(1_000)
    }

    /// An open waits 10 s at most, and is valid for 10 s more, or the TTL if that is less.
    fn remembered_until(&self) -> u64 {
        self.ms + self.ttl_ms.max(10_000 + self.ttl_ms.min(10_000))
    }
}

/// An active stream, as far as it can be compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Active {
    pub stream: StreamId,
    pub admitted: bool,
    pub started_at: WallTime,
    pub last_seen: LogTime,
    pub expires_in_ms: u64,
    pub metadata: Metadata,
}

#[derive(Debug, Default)]
pub struct Facts {
    all: Vec<Fact>,
    /// What has to be told of it, until it is taken.
    pub told: Vec<Told>,
}

impl Facts {
    pub fn open(&mut self, moment: &Moment, open: &Open) -> OpenOutcome {
        let (now, id) = (moment.now.0, open.stream);
        if now > open.not_after.0 {
            return OpenOutcome::Late;
        }
        if let Some((reason, _)) = self.refusal(open.request, now) {
            return OpenOutcome::Refused(reason);
        }
        if let Some(reason) = self.refuse(moment, open) {
            let keep = !moment.full || self.knows_anything(now);
            if keep {
                self.note_refusal(moment, open.request, reason);
            }
            self.told.push(Told {
                stream: id,
                at: moment.shift.show(moment.now),
                kind: FactKind::Refused {
                    reason,
                    max_active: open.max_active,
                },
                metadata: open.metadata.clone(),
            });
            return OpenOutcome::Refused(reason);
        }
        for &replaced in &open.replace {
            self.end(moment, replaced, StoppedReason::Replaced);
        }
        let counted = self.is_active(id, now);
        let admitted = counted && self.is_admitted(id);
        self.sign(moment, id);
        self.all.push(Fact::Admitted(id));
        if !counted || !open.metadata.is_empty() {
            self.all.push(Fact::Says(id, open.metadata.clone()));
        }
        if !admitted {
            self.tell_opened(moment, id);
        }
        OpenOutcome::Opened
    }

    fn refuse(&self, moment: &Moment, open: &Open) -> Option<RefusedReason> {
        let now = moment.now.0;
        if self.stopped(open.stream, now).is_some() {
            return Some(RefusedReason::Stopped);
        }
        let mut ids: Vec<StreamId> = self.active(now).iter().map(|s| s.stream).collect();
        let before = ids.len();
        let counts = ids.contains(&open.stream);
        if counts && self.is_admitted(open.stream) {
            return None;
        }
        ids.retain(|id| !open.replace.contains(id));
        let gives_way = ids.len() < before;
        ids.push(open.stream);
        ids.sort();
        ids.dedup();
        if open.max_active.is_some_and(|max| ids.len() > max as usize) {
            Some(RefusedReason::MaxActive)
        } else if ids.len() > moment.settings.max_streams_per_account as usize {
            Some(RefusedReason::AccountCap)
        } else if moment.full && !counts && !gives_way {
            Some(RefusedReason::OverCapacity)
        } else {
            None
        }
    }

    pub fn heartbeat(
        &mut self,
        moment: &Moment,
        id: StreamId,
        metadata: Option<&Metadata>,
    ) -> HeartbeatOutcome {
        let now = moment.now.0;
        if let Some((reason, _)) = self.stopped(id, now) {
            self.all.push(Fact::StaysStopped(id, at(moment)));
            return HeartbeatOutcome::Stopped(reason);
        }
        let counted = self.is_active(id, now);
        if !counted {
            let cap = moment.settings.max_streams_per_account as usize;
            if self.active(now).len() >= cap {
                return HeartbeatOutcome::Dropped(RefusedReason::AccountCap);
            }
            if moment.full {
                return HeartbeatOutcome::Dropped(RefusedReason::OverCapacity);
            }
        }
        self.sign(moment, id);
        if let Some(metadata) = metadata {
            self.all.push(Fact::Says(id, metadata.clone()));
        }
        if counted {
            HeartbeatOutcome::Refreshed
        } else {
            self.tell_opened(moment, id);
            HeartbeatOutcome::Started
        }
    }

    pub fn stop(&mut self, moment: &Moment, id: StreamId) -> StopOutcome {
        self.end(moment, id, StoppedReason::Stopped)
    }

    fn end(&mut self, moment: &Moment, id: StreamId, reason: StoppedReason) -> StopOutcome {
        let now = moment.now.0;
        let was_active = self.is_active(id, now);
        if self.stopped(id, now).is_some() || (moment.full && !was_active) {
            return StopOutcome::Unchanged;
        }
        let most = moment.settings.max_tombstones_per_account as usize;
        let mut standing: Vec<(u64, StreamId)> = self
            .streams()
            .filter_map(|s| Some((self.stopped(s, now)?.1, s)))
            .collect();
        standing.sort();
        let too_many = (standing.len() + 1).saturating_sub(most);
        for (_, forgotten) in standing.into_iter().take(too_many) {
            self.all.push(Fact::StopForgotten(forgotten));
        }
        if let (true, Some(stream)) = (was_active, self.describe(id, now)) {
            let started_at = stream.started_at;
            let kind = FactKind::Stopped { reason, started_at };
            self.tell(moment.shift.show(moment.now), stream, kind);
        }
        self.all.push(Fact::Ended(id, reason));
        self.all.push(Fact::StaysStopped(id, at(moment)));
        if was_active {
            StopOutcome::Ended
        } else {
            StopOutcome::Noted
        }
    }

    /// Time has come from `before` to `now`: what fell silent is told.
    pub fn pass(&mut self, before: u64, now: u64, shift: WallShift) {
        let ids: Vec<StreamId> = self.streams().collect();
        for id in ids {
            let Some(deadline) = self.last_sign(id).map(At::deadline) else {
                continue;
            };
            if before < deadline
                && deadline <= now
                && let Some(stream) = self.describe(id, now)
            {
                let kind = FactKind::Expired {
                    started_at: stream.started_at,
                    last_seen: shift.show(stream.last_seen).max(stream.started_at),
                    deadline: LogTime(deadline),
                };
                self.tell(shift.show(LogTime(now)), stream, kind);
            }
        }
    }

    fn tell_opened(&mut self, moment: &Moment, id: StreamId) {
        if let Some(stream) = self.describe(id, moment.now.0) {
            let kind = FactKind::Opened {
                admitted: stream.admitted,
                started_at: stream.started_at,
            };
            self.tell(moment.shift.show(moment.now), stream, kind);
        }
    }

    fn tell(&mut self, at: WallTime, stream: Active, kind: FactKind) {
        self.told.push(Told {
            stream: stream.stream,
            at,
            kind,
            metadata: stream.metadata,
        });
    }

    fn sign(&mut self, moment: &Moment, id: StreamId) {
        if !self.is_active(id, moment.now.0) {
            let shown = moment.shift.show(moment.now);
            self.all.push(Fact::Began(id, shown));
        }
        self.all.push(Fact::Sign(id, at(moment)));
    }

    fn note_refusal(&mut self, moment: &Moment, request: RequestId, reason: RefusedReason) {
        let now = moment.now.0;
        let most = moment.settings.max_refusals_per_account as usize;
        let mut remembered: Vec<(u64, RequestId)> = self
            .requests()
            .filter_map(|r| Some((self.refusal(r, now)?.1, r)))
            .collect();
        remembered.sort();
        let too_many = (remembered.len() + 1).saturating_sub(most);
        for (_, forgotten) in remembered.into_iter().take(too_many) {
            self.all.push(Fact::RefusalForgotten(forgotten));
        }
        self.all.push(Fact::Refused(request, reason, now));
    }

    /// The reason, and until when it is known.
    fn stopped(&self, id: StreamId, now: u64) -> Option<(StoppedReason, u64)> {
        let until = self.all.iter().rev().find_map(|fact| match fact {
            Fact::StaysStopped(s, at) if *s == id => Some(at.remembered_until()),
            Fact::StopForgotten(s) if *s == id => Some(0),
            _ => None,
        })?;
        let reason = self.all.iter().rev().find_map(|fact| match fact {
            Fact::Ended(s, reason) if *s == id => Some(*reason),
            _ => None,
        })?;
        (now < until).then_some((reason, until))
    }

    fn refusal(&self, request: RequestId, now: u64) -> Option<(RefusedReason, u64)> {
        let last = self.all.iter().rev().find_map(|fact| match fact {
            Fact::Refused(r, reason, at) if *r == request => Some(Some((*reason, at + 30_000))),
            Fact::RefusalForgotten(r) if *r == request => Some(None),
            _ => None,
        })?;
        last.filter(|(_, until)| now < *until)
    }

    /// The last sign of life, where no end came after it.
    fn last_sign(&self, id: StreamId) -> Option<At> {
        self.all.iter().rev().find_map(|fact| match fact {
            Fact::Sign(s, at) if *s == id => Some(Some(*at)),
            Fact::Ended(s, _) if *s == id => Some(None),
            _ => None,
        })?
    }

    fn is_active(&self, id: StreamId, now: u64) -> bool {
        self.last_sign(id).is_some_and(|at| now < at.deadline())
    }

    /// What was said of it since it began.
    fn since_it_began(&self, id: StreamId) -> &[Fact] {
        let began = |fact: &Fact| matches!(fact, Fact::Began(s, _) if *s == id);
        let first = self.all.iter().rposition(began);
        &self.all[first.unwrap_or(self.all.len())..]
    }

    fn is_admitted(&self, id: StreamId) -> bool {
        let mut since = self.since_it_began(id).iter();
        since.any(|fact| matches!(fact, Fact::Admitted(s) if *s == id))
    }

    pub fn state_of(&self, id: StreamId, now: u64) -> StreamState {
        if self.stopped(id, now).is_some() {
            return StreamState::Stopped;
        }
        match self.last_sign(id) {
            Some(at) if now < at.deadline() => StreamState::Active,
            Some(at) if now < at.deadline() + at.ttl_ms => StreamState::Expired,
            _ => StreamState::Unknown,
        }
    }

    pub fn active(&self, now: u64) -> Vec<Active> {
        let active = self.streams().filter(|id| self.is_active(*id, now));
        let mut active: Vec<Active> = active.filter_map(|id| self.describe(id, now)).collect();
        active.sort_by_key(|s| (s.started_at, s.stream));
        active
    }

    fn describe(&self, id: StreamId, now: u64) -> Option<Active> {
        let since = self.since_it_began(id);
        let last = self.last_sign(id)?;
        let Some(Fact::Began(_, started_at)) = since.first() else {
            return None;
        };
        let said = since.iter().rev().find_map(|fact| match fact {
            Fact::Says(s, metadata) if *s == id => Some(metadata.clone()),
            _ => None,
        });
        Some(Active {
            stream: id,
            admitted: self.is_admitted(id),
            started_at: *started_at,
            last_seen: LogTime(last.ms),
            expires_in_ms: (last.ms + last.ttl_ms).saturating_sub(now),
            metadata: said.unwrap_or_default(),
        })
    }

    /// How many streams and tombstones are not yet forgotten.
    pub fn records(&self, now: u64) -> usize {
        let known = |id: &StreamId| self.state_of(*id, now) != StreamState::Unknown;
        self.streams().filter(known).count()
    }

    pub fn knows_anything(&self, now: u64) -> bool {
        self.records(now) > 0 || self.requests().any(|r| self.refusal(r, now).is_some())
    }

    /// Every moment after `now` at which something that was once true ends.
    pub fn ends(&self, now: u64) -> Vec<u64> {
        let mut ends = Vec::new();
        for fact in &self.all {
            match fact {
                Fact::Sign(_, at) => {
                    ends.extend([at.ms + at.ttl_ms, at.deadline(), at.deadline() + at.ttl_ms]);
                }
                Fact::StaysStopped(_, at) => ends.push(at.remembered_until()),
                Fact::Refused(_, _, at) => ends.push(at + 30_000),
                _ => {}
            }
        }
        ends.retain(|end| *end > now);
        ends.sort();
        ends.dedup();
        ends
    }

    fn streams(&self) -> impl Iterator<Item = StreamId> {
        let ids = self.all.iter().filter_map(|fact| match fact {
            Fact::Began(id, _) | Fact::Ended(id, _) => Some(*id),
            _ => None,
        });
        ids.collect::<std::collections::BTreeSet<_>>().into_iter()
    }

    fn requests(&self) -> impl Iterator<Item = RequestId> {
        let ids = self.all.iter().filter_map(|fact| match fact {
            Fact::Refused(id, ..) => Some(*id),
            _ => None,
        });
        ids.collect::<std::collections::BTreeSet<_>>().into_iter()
    }
}

fn at(moment: &Moment) -> At {
    let Settings { ttl_ms, .. } = *moment.settings;
    At {
        ms: moment.now.0,
        ttl_ms,
    }
}
