//! The naive model: a list of events that only grows. Every query iterates over the whole list.

use streamwatch::domain::{
    HeartbeatOutcome, LifecycleEvent, LifecycleEventKind, LogTime, Metadata, Moment, Open,
    OpenOutcome, RefusedReason, RequestId, StopOutcome, StoppedReason, StreamId, StreamState,
    WallShift, WallTime,
};

#[derive(Clone, Debug)]
enum Event {
    Started(StreamId, WallTime),
    Sign(StreamId, At),
    Admitted(StreamId),
    Metadata(StreamId, Metadata),
    /// With its TTL, if it was active.
    Ended(StreamId, StoppedReason, Option<u64>),
    /// The minimum time up to which a stopped stream stays stopped.
    StaysStopped(StreamId, u64),
    Refused(RequestId, RefusedReason, u64),
    RefusalExpired(RequestId),
}

/// A moment of log time, and the TTL of a stream from then on.
#[derive(Clone, Copy, Debug)]
struct At {
    ms: u64,
    ttl_ms: u64,
}

impl At {
    fn deadline(self) -> u64 {
        self.ms + self.ttl_ms + 2 * (self.ttl_ms / 20).min(1_000)
    }
}

/// The comparable properties of an active stream.
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
pub struct History {
    all: Vec<Event>,
    /// Expected lifecycle events, until they are taken.
    pub emitted: Vec<LifecycleEvent>,
}

impl History {
    pub fn open(&mut self, moment: &Moment, open: &Open) -> OpenOutcome {
        let (now, id) = (moment.now.0, open.stream);
        if now > open.not_after.0 {
            return OpenOutcome::Late;
        }
        if let Some((reason, _)) = self.refusal(open.request, now) {
            return OpenOutcome::Refused(reason);
        }
        if let Some(reason) = self.refuse(moment, open) {
            let keep = !moment.full || self.has_records(now);
            if keep {
                self.note_refusal(moment, open.request, reason);
            }
            self.emitted.push(LifecycleEvent {
                stream: id,
                at: moment.shift.show(moment.now),
                kind: LifecycleEventKind::Refused {
                    reason,
                    max_active: open.max_active,
                },
                metadata: open.metadata.clone(),
            });
            return OpenOutcome::Refused(reason);
        }
        // The stream's own tombstone is reserved before those of inactive streams to replace.
        let reserved = usize::from(!self.is_active(id, now));
        for &replaced in &open.replace {
            self.end(moment, replaced, StoppedReason::Replaced, reserved);
        }
        let counted = self.is_active(id, now);
        let admitted = counted && self.is_admitted(id);
        self.sign(moment, id, moment.settings.ttl_ms);
        self.all.push(Event::Admitted(id));
        if !counted || !open.metadata.is_empty() {
            self.all.push(Event::Metadata(id, open.metadata.clone()));
        }
        if !admitted {
            self.emit_opened(moment, id);
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
        } else if ids.len() > moment.settings.max_streams_per_account as usize
            || (!counts && !self.has_room(moment, 0))
        {
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
        every_ms: Option<u32>,
        metadata: Option<&Metadata>,
    ) -> HeartbeatOutcome {
        let now = moment.now.0;
        if let Some((reason, _)) = self.stopped(id, now) {
            let ended_by = self.all.iter().rev().find_map(|event| match event {
                Event::Ended(s, _, sent_ms) if *s == id => Some(*sent_ms),
                _ => None,
            });
            self.stays_stopped(moment, id, ended_by.flatten());
            return HeartbeatOutcome::Stopped(reason);
        }
        let counted = self.is_active(id, now);
        let (ttl_now, every_now) = (moment.settings.ttl_ms, moment.settings.heartbeat_every_ms);
        let every_ms = every_ms.map(u64::from);
        let mut outdated = every_ms.is_some_and(|ms| ms != every_now);
        let mut ttl_ms = ttl_now;
        if counted && let Some(last) = self.last_sign(id) {
            outdated |= last.ttl_ms != ttl_now;
            if every_ms.is_none_or(|ms| ms > every_now) {
                ttl_ms = ttl_now.max(last.ttl_ms);
            }
        }
        if !counted {
            let cap = moment.settings.max_streams_per_account as usize;
            if self.active(now).len() >= cap || !self.has_room(moment, 0) {
                return HeartbeatOutcome::Dropped(RefusedReason::AccountCap);
            }
            if moment.full {
                return HeartbeatOutcome::Dropped(RefusedReason::OverCapacity);
            }
        }
        self.sign(moment, id, ttl_ms);
        if let Some(metadata) = metadata {
            self.all.push(Event::Metadata(id, metadata.clone()));
        }
        if counted {
            HeartbeatOutcome::Refreshed { outdated }
        } else {
            self.emit_opened(moment, id);
            HeartbeatOutcome::Started { outdated }
        }
    }

    pub fn stop(&mut self, moment: &Moment, id: StreamId) -> StopOutcome {
        self.end(moment, id, StoppedReason::Stopped, 0)
    }

    /// Whether one more stream may start, or be stopped before its start, beside `reserved` others.
    fn has_room(&self, moment: &Moment, reserved: usize) -> bool {
        let now = moment.now.0;
        let stopped = self.streams().filter(|s| self.stopped(*s, now).is_some());
        let taken = stopped.count() + self.active(now).len() + reserved;
        taken < moment.settings.max_tombstones_per_account as usize
    }

    fn end(
        &mut self,
        moment: &Moment,
        id: StreamId,
        reason: StoppedReason,
        reserved: usize,
    ) -> StopOutcome {
        let now = moment.now.0;
        let was_active = self.is_active(id, now);
        let no_room = || moment.full || !self.has_room(moment, reserved);
        if self.stopped(id, now).is_some() || (!was_active && no_room()) {
            return StopOutcome::Unchanged;
        }
        let sent_ms = was_active.then(|| self.last_sign(id).map(|at| at.ttl_ms));
        let sent_ms = sent_ms.flatten();
        if let (true, Some(stream)) = (was_active, self.describe(id, now)) {
            let started_at = stream.started_at;
            let kind = LifecycleEventKind::Stopped { reason, started_at };
            self.emit(moment.shift.show(moment.now), stream, kind);
        }
        self.all.push(Event::Ended(id, reason, sent_ms));
        self.stays_stopped(moment, id, sent_ms);
        if was_active {
            StopOutcome::Ended
        } else {
            StopOutcome::Noted
        }
    }

    /// Keeps a stream stopped for the longest of the TTL in force, the one its player was sent, and
    /// the time for which its `init` may arrive: it waits at most 10 s, and is valid for 10 s more,
    /// or for the TTL if that is less.
    fn stays_stopped(&mut self, moment: &Moment, id: StreamId, sent_ms: Option<u64>) {
        let ttl_ms = moment.settings.ttl_ms;
        let open_ms = 10_000 + ttl_ms.min(10_000);
        let lasts_ms = ttl_ms.max(open_ms).max(sent_ms.unwrap_or(0));
        let until = moment.now.0 + lasts_ms;
        let until = self
            .stopped(id, moment.now.0)
            .map_or(until, |(_, u)| u.max(until));
        self.all.push(Event::StaysStopped(id, until));
    }

    /// Advances time from `before` to `now`, and adds the expiries.
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
                let kind = LifecycleEventKind::Expired {
                    started_at: stream.started_at,
                    last_seen: shift.show(stream.last_seen).max(stream.started_at),
                    deadline: LogTime(deadline),
                };
                self.emit(shift.show(LogTime(now)), stream, kind);
            }
        }
    }

    fn emit_opened(&mut self, moment: &Moment, id: StreamId) {
        if let Some(stream) = self.describe(id, moment.now.0) {
            let kind = LifecycleEventKind::Opened {
                admitted: stream.admitted,
                started_at: stream.started_at,
            };
            self.emit(moment.shift.show(moment.now), stream, kind);
        }
    }

    fn emit(&mut self, at: WallTime, stream: Active, kind: LifecycleEventKind) {
        self.emitted.push(LifecycleEvent {
            stream: stream.stream,
            at,
            kind,
            metadata: stream.metadata,
        });
    }

    fn sign(&mut self, moment: &Moment, id: StreamId, ttl_ms: u64) {
        if !self.is_active(id, moment.now.0) {
            let shown = moment.shift.show(moment.now);
            self.all.push(Event::Started(id, shown));
        }
        let ms = moment.now.0;
        self.all.push(Event::Sign(id, At { ms, ttl_ms }));
    }

    fn note_refusal(&mut self, moment: &Moment, request: RequestId, reason: RefusedReason) {
        let now = moment.now.0;
        let most = moment.settings.max_refusals_per_account as usize;
        let made = |r: RequestId| {
            let of_r = |event: &Event| matches!(event, Event::Refused(s, ..) if *s == r);
            self.all.iter().rposition(of_r)
        };
        let mut remembered: Vec<(Option<usize>, RequestId)> = self
            .requests()
            .filter(|r| self.refusal(*r, now).is_some())
            .map(|r| (made(r), r))
            .collect();
        remembered.sort();
        let too_many = (remembered.len() + 1).saturating_sub(most);
        for (_, forgotten) in remembered.into_iter().take(too_many) {
            self.all.push(Event::RefusalExpired(forgotten));
        }
        self.all.push(Event::Refused(request, reason, now));
    }

    /// The reason of a stop, and the moment up to which the stream stays stopped.
    fn stopped(&self, id: StreamId, now: u64) -> Option<(StoppedReason, u64)> {
        let until = self.all.iter().rev().find_map(|event| match event {
            Event::StaysStopped(s, until) if *s == id => Some(*until),
            _ => None,
        })?;
        let reason = self.all.iter().rev().find_map(|event| match event {
            Event::Ended(s, reason, _) if *s == id => Some(*reason),
            _ => None,
        })?;
        (now < until).then_some((reason, until))
    }

    fn refusal(&self, request: RequestId, now: u64) -> Option<(RefusedReason, u64)> {
        let last = self.all.iter().rev().find_map(|event| match event {
            Event::Refused(r, reason, at) if *r == request => Some(Some((*reason, at + 30_000))),
            Event::RefusalExpired(r) if *r == request => Some(None),
            _ => None,
        })?;
        last.filter(|(_, until)| now < *until)
    }

    /// The last heartbeat or `init`, if no end came after it.
    fn last_sign(&self, id: StreamId) -> Option<At> {
        self.all.iter().rev().find_map(|event| match event {
            Event::Sign(s, at) if *s == id => Some(Some(*at)),
            Event::Ended(s, ..) if *s == id => Some(None),
            _ => None,
        })?
    }

    fn is_active(&self, id: StreamId, now: u64) -> bool {
        self.last_sign(id).is_some_and(|at| now < at.deadline())
    }

    /// Its events since it started.
    fn since_start(&self, id: StreamId) -> &[Event] {
        let started = |event: &Event| matches!(event, Event::Started(s, _) if *s == id);
        let first = self.all.iter().rposition(started);
        &self.all[first.unwrap_or(self.all.len())..]
    }

    fn is_admitted(&self, id: StreamId) -> bool {
        let mut since = self.since_start(id).iter();
        since.any(|event| matches!(event, Event::Admitted(s) if *s == id))
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
        let since = self.since_start(id);
        let last = self.last_sign(id)?;
        let Some(Event::Started(_, started_at)) = since.first() else {
            return None;
        };
        let stated = since.iter().rev().find_map(|event| match event {
            Event::Metadata(s, metadata) if *s == id => Some(metadata.clone()),
            _ => None,
        });
        Some(Active {
            stream: id,
            admitted: self.is_admitted(id),
            started_at: *started_at,
            last_seen: LogTime(last.ms),
            expires_in_ms: (last.ms + last.ttl_ms).saturating_sub(now),
            metadata: stated.unwrap_or_default(),
        })
    }

    /// Number of streams and tombstones that cannot be removed yet.
    pub fn records(&self, now: u64) -> usize {
        let known = |id: &StreamId| self.state_of(*id, now) != StreamState::Unknown;
        self.streams().filter(known).count()
    }

    pub fn has_records(&self, now: u64) -> bool {
        self.records(now) > 0 || self.requests().any(|r| self.refusal(r, now).is_some())
    }

    /// Every moment after `now` at which a record expires or can be removed.
    pub fn ends(&self, now: u64) -> Vec<u64> {
        let mut ends = Vec::new();
        for event in &self.all {
            match event {
                Event::Sign(_, at) => {
                    ends.extend([at.ms + at.ttl_ms, at.deadline(), at.deadline() + at.ttl_ms]);
                }
                Event::StaysStopped(_, until) => ends.push(*until),
                Event::Refused(_, _, at) => ends.push(at + 30_000),
                _ => {}
            }
        }
        ends.retain(|end| *end > now);
        ends.sort();
        ends.dedup();
        ends
    }

    fn streams(&self) -> impl Iterator<Item = StreamId> {
        let ids = self.all.iter().filter_map(|event| match event {
            Event::Started(id, _) | Event::Ended(id, ..) => Some(*id),
            _ => None,
        });
        ids.collect::<std::collections::BTreeSet<_>>().into_iter()
    }

    fn requests(&self) -> impl Iterator<Item = RequestId> {
        let ids = self.all.iter().filter_map(|event| match event {
            Event::Refused(id, ..) => Some(*id),
            _ => None,
        });
        ids.collect::<std::collections::BTreeSet<_>>().into_iter()
    }
}
