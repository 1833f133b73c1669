//! The naive model: a list of events that only grows. Every query iterates over the whole list.

use std::collections::{BTreeMap, BTreeSet};

use streamwatch::domain::{
    Conflict, ExpiryCause, GivenReason, Heartbeat, HeartbeatOutcome, LifecycleEvent,
    LifecycleEventKind, LogTime, Metadata, MetadataOutcome, MetadataPatch, Moment, Open,
    OpenOutcome, Refused, RefusedReason, RequestId, Rules, Settings, Stop, StopCause, StopOutcome,
    StopTarget, StoppedReason, StreamId, StreamState, WallShift, WallTime,
};

use crate::weigh::Weighing;

#[derive(Clone, Debug)]
enum Event {
    Started(StreamId, WallTime, u64),
    Sign(StreamId, At),
    Admitted(StreamId),
    Metadata(StreamId, Metadata),
    /// With its TTL, if it was active.
    Ended(StreamId, StopCause, Option<u64>),
    /// The minimum time up to which a stopped stream stays stopped.
    StaysStopped(StreamId, u64),
    /// With the time until which it is remembered.
    Refused(RequestId, RefusedReason, u64),
    RefusalExpired(RequestId),
}

/// The end of a stream by a stop or another stream.
struct Ending {
    cause: StopCause,
    successor: Option<StreamId>,
    /// The number of tombstones to keep free.
    reserved: usize,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The streams that were opened and have not ended, by these events.
    open: BTreeSet<StreamId>,
}

impl History {
    pub fn open(&mut self, moment: &Moment, open: &Open) -> OpenOutcome {
        let (now, id) = (moment.now.0, open.stream);
        if now > open.not_after.0 {
            return OpenOutcome::Late;
        }
        if let Some((reason, _)) = self.refusal(open.request, now) {
            return OpenOutcome::Refused {
                reason,
                is_remembered: true,
            };
        }
        let too_old = self.active(now).into_iter().map(|s| s.stream);
        let too_old = too_old.filter(|id| self.is_too_old(moment, *id));
        for id in too_old.collect::<Vec<_>>() {
            self.end_too_old(moment, id);
        }
        let further = match self.decide(moment, open) {
            Ok(further) => further,
            Err(reason) => {
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
                return OpenOutcome::Refused {
                    reason,
                    is_remembered: false,
                };
            }
        };
        let given = open.terms.as_ref().and_then(|terms| terms.reason.clone());
        let ending = Ending {
            cause: StopCause {
                reason: StoppedReason::Replaced,
                given,
            },
            successor: (moment.settings.rules() == Rules::V2).then_some(id),
            // The stream's own tombstone is reserved before those of inactive streams to replace.
            reserved: usize::from(!self.is_active(id, now)),
        };
        let mut replaced = Vec::new();
        for other in open.replace.iter().copied().chain(further) {
            if self.end(moment, other, &ending) == StopOutcome::Ended {
                replaced.push(other);
            }
        }
        let counted = self.is_active(id, now);
        let admitted = counted && self.is_admitted(id);
        self.sign(moment, id, moment.settings.ttl_ms);
        self.all.push(Event::Admitted(id));
        if !counted || !open.metadata.is_empty() {
            self.all.push(Event::Metadata(id, open.metadata.clone()));
        }
        if !counted {
            self.emit_opened(moment, id);
        } else if !admitted {
            self.emit_admitted(moment, id);
        }
        OpenOutcome::Opened { replaced }
    }

    /// Returns the streams that end for an admitted one, besides those that it names.
    fn decide(&self, moment: &Moment, open: &Open) -> Result<Vec<StreamId>, RefusedReason> {
        let now = moment.now.0;
        if self.stopped(open.stream, now).is_some() {
            return Err(RefusedReason::Stopped);
        }
        let active = self.active(now);
        let counts = active.iter().any(|s| s.stream == open.stream);
        if counts && self.is_admitted(open.stream) {
            return Ok(Vec::new());
        }
        let weighing = Weighing::new(open, &active);
        let oldest = weighing.oldest_in_the_way();
        let replaces = open
            .terms
            .as_ref()
            .is_some_and(|it| it.on_limit.as_str() != "refuse");
        if !oldest.is_empty() && !replaces {
            return Err(match open.max_active {
                Some(_) => RefusedReason::MaxActive,
                None => RefusedReason::Limits,
            });
        }
        let ended: Vec<StreamId> = weighing.same.iter().copied().chain(oldest).collect();
        let stay = |s: &&Active| !ended.contains(&s.stream) && !open.replace.contains(&s.stream);
        let others = active
            .iter()
            .filter(stay)
            .filter(|s| s.stream != open.stream);
        let with_it = others.count() + 1;
        let gives_way = with_it - 1 < active.len() - usize::from(counts);
        if with_it > moment.settings.max_streams_per_account as usize
            || (!counts && !self.has_room(moment, 0))
        {
            Err(RefusedReason::AccountCap)
        } else if moment.full && !counts && !gives_way {
            Err(RefusedReason::OverCapacity)
        } else {
            Ok(ended)
        }
    }

    /// The description of a refusal that was decided now.
    pub fn describe_refusal(
        &self,
        moment: &Moment,
        open: &Open,
        outcome: &OpenOutcome,
    ) -> Option<Refused> {
        let OpenOutcome::Refused {
            reason,
            is_remembered,
        } = *outcome
        else {
            return None;
        };
        let now = moment.now.0;
        let by_limits = matches!(reason, RefusedReason::MaxActive | RefusedReason::Limits);
        let weighing = Weighing::new(open, &self.active(now));
        let broken = weighing.broken(&[]).into_iter().filter(|_| by_limits);
        let stays = self.stopped(open.stream, now).map(|(_, until)| until);
        let room = self.room_at(moment, open);
        let room = room.filter(|_| reason == RefusedReason::AccountCap);
        let remembered = self.refusal(open.request, now);
        let remembered = remembered.filter(|_| is_remembered || room.is_some());
        let remembered = remembered.map(|(_, until)| until);
        let until = stays.into_iter().chain(remembered).chain(room);
        Some(Refused {
            reason,
            max_active: open.max_active,
            conflicts: broken
                .map(|limit| Conflict {
                    limit,
                    streams: weighing.in_the_way(limit),
                })
                .collect(),
            is_remembered,
            retry_after_ms: until.max().map(|until| until - now),
        })
    }

    /// The time at which a stream may start that only tombstones keep from starting now.
    fn room_at(&self, moment: &Moment, open: &Open) -> Option<u64> {
        let now = moment.now.0;
        let mut ends: Vec<u64> = self
            .streams()
            .filter_map(|s| self.stopped(s, now))
            .map(|(_, until)| until)
            .collect();
        ends.sort_unstable();
        let active = self.active(now).len();
        let fits = |cap: u32| {
            let settings = Settings {
                max_tombstones_per_account: cap,
                ..moment.settings.clone()
            };
            let moment = Moment {
                settings: &settings,
                ..*moment
            };
            self.decide(&moment, open) != Err(RefusedReason::AccountCap)
        };
        let cap = moment.settings.max_tombstones_per_account as usize;
        let has_room = |left: usize| left + active < cap;
        if has_room(ends.len()) || !fits(u32::MAX) {
            return None;
        }
        let left_after = |n: usize| ends.len() - n - 1;
        (0..ends.len())
            .find(|n| has_room(left_after(*n)))
            .map(|n| ends[n])
    }

    pub fn heartbeat(&mut self, moment: &Moment, heartbeat: &Heartbeat) -> HeartbeatOutcome {
        let (now, id) = (moment.now.0, heartbeat.stream);
        if let Some((cause, _)) = self.stopped(id, now) {
            let ended_by = self.all.iter().rev().find_map(|event| match event {
                Event::Ended(s, _, sent_ms) if *s == id => Some(*sent_ms),
                _ => None,
            });
            self.stays_stopped(moment, id, ended_by.flatten());
            return HeartbeatOutcome::Stopped(cause);
        }
        let counted = self.is_active(id, now);
        if counted && self.is_too_old(moment, id) {
            self.end_too_old(moment, id);
            return HeartbeatOutcome::Stopped(StoppedReason::TooOld.into());
        }
        let (ttl_now, every_now) = (moment.settings.ttl_ms, moment.settings.heartbeat_every_ms);
        let every_ms = heartbeat.every_ms.map(u64::from);
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
        let before = self.describe(id, now).filter(|_| counted);
        let before = before.map(|stream| stream.metadata).unwrap_or_default();
        self.sign(moment, id, ttl_ms);
        let after = after(moment, &before, heartbeat.metadata.as_ref());
        let metadata = match after {
            None => MetadataOutcome::Ignored,
            Some(after) if after == before => MetadataOutcome::Kept,
            Some(after) => {
                self.all.push(Event::Metadata(id, after));
                MetadataOutcome::Changed
            }
        };
        if counted {
            HeartbeatOutcome::Refreshed { outdated, metadata }
        } else {
            self.emit_opened(moment, id);
            HeartbeatOutcome::Started { outdated, metadata }
        }
    }

    pub fn stop(&mut self, moment: &Moment, stop: &Stop) -> StopOutcome {
        let states_causes = moment.settings.rules() == Rules::V2;
        let given: Option<GivenReason> = stop.reason.clone().and_then(Result::ok);
        let ending = Ending {
            cause: StopCause {
                reason: StoppedReason::Stopped,
                given: given.filter(|_| states_causes),
            },
            successor: None,
            reserved: 0,
        };
        match stop.target {
            StopTarget::One(id) => self.end(moment, id, &ending),
            StopTarget::All => {
                let mut outcome = StopOutcome::Unchanged;
                for stream in self.active(moment.now.0) {
                    outcome = self.end(moment, stream.stream, &ending);
                }
                outcome
            }
        }
    }

    /// Whether an active stream is older than a stream may be. Its start is rounded up to seconds.
    fn is_too_old(&self, moment: &Moment, id: StreamId) -> bool {
        let max = moment.settings.max_stream_age_ms;
        let has_max = max > 0 && moment.settings.rules() == Rules::V2;
        let Some(Event::Started(_, _, began)) = self.since_start(id).first() else {
            return false;
        };
        let began = began.div_ceil(1_000) * 1_000;
        has_max && moment.now.0 > began + max
    }

    fn end_too_old(&mut self, moment: &Moment, id: StreamId) {
        let sent_ms = self.last_sign(id).map(|at| at.ttl_ms);
        if let Some(stream) = self.describe(id, moment.now.0) {
            let kind = LifecycleEventKind::Expired {
                started_at: stream.started_at,
                last_seen: moment.shift.show(stream.last_seen).max(stream.started_at),
                cause: ExpiryCause::TooOld,
            };
            self.emit(moment.shift.show(moment.now), stream, kind);
        }
        self.all
            .push(Event::Ended(id, StoppedReason::TooOld.into(), sent_ms));
        self.stays_stopped(moment, id, sent_ms);
    }

    /// The number of streams that were opened and have not ended, after each of these events.
    pub fn counted(&mut self, events: &[LifecycleEvent]) -> Vec<u32> {
        let counts = events.iter().map(|event| {
            match event.kind {
                LifecycleEventKind::Opened { .. } => drop(self.open.insert(event.stream)),
                LifecycleEventKind::Stopped { .. } | LifecycleEventKind::Expired { .. } => {
                    assert!(self.open.remove(&event.stream), "ended twice: {event:?}");
                }
                LifecycleEventKind::Admitted { .. } => assert!(self.open.contains(&event.stream)),
                LifecycleEventKind::Refused { .. } => {}
            }
            self.open.len() as u32
        });
        counts.collect()
    }

    /// Whether one more stream may start, or be stopped before its start, beside `reserved` others.
    fn has_room(&self, moment: &Moment, reserved: usize) -> bool {
        let now = moment.now.0;
        let stopped = self.streams().filter(|s| self.stopped(*s, now).is_some());
        let taken = stopped.count() + self.active(now).len() + reserved;
        taken < moment.settings.max_tombstones_per_account as usize
    }

    fn end(&mut self, moment: &Moment, id: StreamId, ending: &Ending) -> StopOutcome {
        let now = moment.now.0;
        let was_active = self.is_active(id, now);
        let no_room = || moment.full || !self.has_room(moment, ending.reserved);
        if self.stopped(id, now).is_some() || (!was_active && no_room()) {
            return StopOutcome::Unchanged;
        }
        let sent_ms = was_active.then(|| self.last_sign(id).map(|at| at.ttl_ms));
        let sent_ms = sent_ms.flatten();
        if let (true, Some(stream)) = (was_active, self.describe(id, now)) {
            let kind = LifecycleEventKind::Stopped {
                reason: ending.cause.reason,
                started_at: stream.started_at,
                successor: ending.successor,
                given: ending.cause.given.clone(),
            };
            self.emit(moment.shift.show(moment.now), stream, kind);
        }
        self.all
            .push(Event::Ended(id, ending.cause.clone(), sent_ms));
        self.stays_stopped(moment, id, sent_ms);
        if was_active {
            StopOutcome::Ended
        } else {
            StopOutcome::Tombstoned
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
                    cause: ExpiryCause::Deadline(LogTime(deadline)),
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

    fn emit_admitted(&mut self, moment: &Moment, id: StreamId) {
        if moment.settings.rules() == Rules::V1 {
            return self.emit_opened(moment, id);
        }
        if let Some(stream) = self.describe(id, moment.now.0) {
            let kind = LifecycleEventKind::Admitted {
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
            self.all.push(Event::Started(id, shown, moment.now.0));
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
        let (ttl_ms, partitions) = (moment.settings.ttl_ms, moment.settings.partitions);
        // 10 s for the reply, 10 s in each queue, and the validity of the proposal.
        let queues = if partitions > 1 { 2 } else { 1 };
        let lasts_ms = match moment.settings.rules() {
            Rules::V1 => 30_000,
            Rules::V2 => 10_000 + queues * 10_000 + ttl_ms.min(10_000),
        };
        self.all
            .push(Event::Refused(request, reason, now + lasts_ms));
    }

    /// The cause of a stop, and the moment up to which the stream stays stopped.
    fn stopped(&self, id: StreamId, now: u64) -> Option<(StopCause, u64)> {
        let until = self.all.iter().rev().find_map(|event| match event {
            Event::StaysStopped(s, until) if *s == id => Some(*until),
            _ => None,
        })?;
        let cause = self.all.iter().rev().find_map(|event| match event {
            Event::Ended(s, cause, _) if *s == id => Some(cause.clone()),
            _ => None,
        })?;
        (now < until).then_some((cause, until))
    }

    fn refusal(&self, request: RequestId, now: u64) -> Option<(RefusedReason, u64)> {
        let last = self.all.iter().rev().find_map(|event| match event {
            Event::Refused(r, reason, until) if *r == request => Some(Some((*reason, *until))),
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
        let started = |event: &Event| matches!(event, Event::Started(s, ..) if *s == id);
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
        let active = self.starts().filter(|id| self.is_active(*id, now));
        active.filter_map(|id| self.describe(id, now)).collect()
    }

    fn describe(&self, id: StreamId, now: u64) -> Option<Active> {
        let since = self.since_start(id);
        let last = self.last_sign(id)?;
        let Some(Event::Started(_, started_at, _)) = since.first() else {
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
                Event::Refused(_, _, until) => ends.push(*until),
                _ => {}
            }
        }
        ends.retain(|end| *end > now);
        ends.sort();
        ends.dedup();
        ends
    }

    /// The streams in the order of their last starts.
    fn starts(&self) -> impl Iterator<Item = StreamId> {
        let mut latest: Vec<StreamId> = Vec::new();
        for event in self.all.iter().rev() {
            if let Event::Started(id, ..) = event
                && !latest.contains(id)
            {
                latest.push(*id);
            }
        }
        latest.into_iter().rev()
    }

    fn streams(&self) -> impl Iterator<Item = StreamId> {
        let ids = self.all.iter().filter_map(|event| match event {
            Event::Started(id, ..) | Event::Ended(id, ..) => Some(*id),
            _ => None,
        });
        ids.collect::<BTreeSet<_>>().into_iter()
    }

    fn requests(&self) -> impl Iterator<Item = RequestId> {
        let ids = self.all.iter().filter_map(|event| match event {
            Event::Refused(id, ..) => Some(*id),
            _ => None,
        });
        ids.collect::<BTreeSet<_>>().into_iter()
    }
}

/// The metadata after a heartbeat; `None` if that of the heartbeat is ignored.
fn after(moment: &Moment, before: &Metadata, patch: Option<&MetadataPatch>) -> Option<Metadata> {
    let Some(patch) = patch else {
        return Some(before.clone());
    };
    let set = patch.set()?;
    if moment.settings.rules() == Rules::V1 {
        return Some(set.clone());
    }
    let mut pairs: BTreeMap<&str, &str> = before.pairs().collect();
    pairs.extend(set.pairs());
    for key in patch.removed() {
        pairs.remove(&**key);
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    Some(Metadata::new(&mut pairs).expect("few keys"))
}
