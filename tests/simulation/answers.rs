//! Checks of answers against the entries of the log.

use streamwatch::{
    domain::{AccountKey, Activity, Answer, Consistency, StreamId, StreamState},
    replica::Replica,
};

use crate::{
    observer::Observer,
    requests::{Body, Request},
    row::held,
    worker::History,
};

/// Tolerances of the checks in one run.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest interval of any settings of this run.
    pub interval_ms: u64,
    /// How much earlier than its TTL a stream may end after a clock jumped or the TTL was
    /// changed.
    pub early_ms: u64,
    /// Streams may be dropped at the account's or the partition's limits, or because of their age.
    pub limited: bool,
    /// Maximum lag of wall time behind true time, if it is bounded.
    pub shown_behind_ms: Option<i64>,
}

pub struct Answered<'a> {
    pub replica: &'a Replica<u64>,
    pub history: History,
    pub request: &'a Request,
    pub answer: &'a Answer,
    pub now: u64,
}

impl Answered<'_> {
    pub fn check(&self, observer: &Observer, bounds: &Bounds) {
        let (Answer::Opened { activity, .. }
        | Answer::Refused { activity, .. }
        | Answer::Status { activity, .. }) = self.answer;
        if let (Body::Init(init), Answer::Opened { stream, .. }) = (&self.request.body, self.answer)
        {
            assert_eq!(*stream, init.stream);
            let streams = activity.streams.iter();
            let counts = streams.filter(|s| s.stream == *stream && s.admitted);
            assert_eq!(counts.count(), 1, "an opened stream counts");
        }
        if self.history.generation != observer.generation {
            return; // of a deleted log, which its replica has not noticed yet
        }
        let applied = self.replica.applied().map_or(0, |offset| offset + 1);
        match &self.request.body {
            Body::Init(_) => self.check_at_entry(observer, activity),
            Body::Status(question) => {
                // The time up to which the answer must include all entries.
                let fresh = match (question.query.consistency, self.request.received) {
                    (Consistency::Strong, Some((received, epoch, end))) => {
                        let of_this_log = epoch == observer.epoch;
                        assert!(applied >= end || !of_this_log, "strong: {applied} of {end}");
                        self.check_at_entry(observer, activity);
                        received.saturating_sub(1) // entries of the same millisecond may be later
                    }
                    _ => {
                        let fresh = self.now.saturating_sub(3 * bounds.interval_ms);
                        let end = observer.taken_by(fresh);
                        assert!(applied >= end, "local: {applied} of {end} were old");
                        fresh
                    }
                };
                self.check_none_missing(observer, bounds, activity, fresh);
                self.check_no_overcount(observer, bounds, activity, fresh);
                self.check_shown(bounds, activity);
                if let Answer::Status {
                    stream: Some((id, state)),
                    ..
                } = self.answer
                {
                    self.check_state(observer, bounds, &activity.key, *id, *state, fresh);
                }
            }
        }
    }

    /// Checks that an answer contains the state at the last applied entry.
    fn check_at_entry(&self, observer: &Observer, activity: &Activity) {
        let at = self.replica.log_time().unwrap_or_default();
        let account = held(self.replica, &activity.key).unwrap_or_default();
        let expected = account.activity(&activity.key, at, streamwatch::domain::WallShift(0));
        let ids = |a: &Activity| -> Vec<StreamId> { a.streams.iter().map(|s| s.stream).collect() };
        assert_eq!(ids(activity), ids(&expected));
        if self.history.is_whole()
            && let Some(applied) = self.replica.applied()
            && let accounts = &observer.rows[applied as usize].accounts
            && let Some((_, account)) = accounts.iter().find(|(key, _)| *key == activity.key)
        {
            let account = account.clone().unwrap_or_default();
            assert_eq!(account.count(at), activity.streams.len());
        }
    }

    /// The shown time equals the workers' clocks, if none is wrong.
    fn check_shown(&self, bounds: &Bounds, activity: &Activity) {
        let Some(behind_ms) = bounds.shown_behind_ms else {
            return;
        };
        let behind = 1_700_000_000_000 + self.now as i64 - activity.as_of.0;
        assert!(
            (-2_000..behind_ms).contains(&behind),
            "wall time lags {behind} ms"
        );
    }

    /// Checks a stream's state: active, then expired for one TTL; stopped for one TTL at least.
    fn check_state(
        &self,
        observer: &Observer,
        bounds: &Bounds,
        key: &AccountKey,
        id: StreamId,
        state: StreamState,
        fresh: u64,
    ) {
        let life = observer.lives.get(key).and_then(|lives| lives.get(&id));
        let (Some(life), Some(log), true) =
            (life, self.replica.log_time(), self.history.is_whole())
        else {
            return;
        };
        let latest = log.0 + 2 * bounds.interval_ms;
        let recently = |at: u64| at > fresh;
        match (life.signs.last(), life.ended) {
            (Some(sign), _) if !recently(sign.at) => {
                let up = sign.log_ms + sign.lasts_ms;
                if latest < up {
                    assert_eq!(state, StreamState::Active, "{sign:?} at {log}");
                } else if log.0 >= up && latest < up + sign.ttl_ms {
                    assert_eq!(state, StreamState::Expired, "{sign:?} at {log}");
                }
            }
            // Log time is not faster than true time.
            (None, Some(ended)) if !recently(ended) && self.now - ended < 1_000 => {
                assert_eq!(state, StreamState::Stopped, "ended at {ended}");
            }
            _ => {}
        }
    }

    /// Checks that a stream with timely heartbeats is in every answer.
    fn check_none_missing(
        &self,
        observer: &Observer,
        bounds: &Bounds,
        activity: &Activity,
        fresh: u64,
    ) {
        if bounds.limited && !self.history.is_whole() {
            return; // the account may have dropped others
        }
        for (id, life) in observer.lives.get(&activity.key).into_iter().flatten() {
            if life.named && !self.history.is_whole() {
                continue;
            }
            let known = |s: &&crate::life::Sign| {
                s.at <= fresh && (s.is_heartbeat || self.history.is_whole())
            };
            let Some(sign) = life.signs.iter().rev().find(known) else {
                continue;
            };
            let age = self.now - sign.at;
            let judged = self.history.is_whole() || observer.unjudged.is_none_or(|at| sign.at > at);
            let sure = judged && observer.misled.is_none_or(|at| sign.at > at);
            if sure && age + bounds.early_ms < sign.ttl_ms {
                let mut streams = activity.streams.iter();
                assert!(
                    streams.any(|s| s.stream == *id),
                    "{id} is missing {age} ms after its last heartbeat {sign:?}"
                );
            }
        }
    }

    /// Checks that no answer contains a stream that expired or ended too long ago.
    fn check_no_overcount(
        &self,
        observer: &Observer,
        bounds: &Bounds,
        activity: &Activity,
        fresh: u64,
    ) {
        // A replica with only the end of its log may be two intervals behind in log time, and may
        // lack a stop that was dropped.
        let slack = if self.history.is_whole() {
            0
        } else {
            2 * bounds.interval_ms
        };
        let applied = observer.taken_by(fresh) as usize;
        let log_ms = applied.checked_sub(1).and_then(|i| observer.rows[i].log_ms);
        let lives = observer.lives.get(&activity.key);
        for stream in &activity.streams {
            let id = stream.stream;
            let Some(life) = lives.and_then(|lives| lives.get(&id)) else {
                // A replica with only the end of a log may have admitted a refused stream.
                assert!(!self.history.is_whole(), "{id} never was");
                continue;
            };
            let whole = self.history.is_whole();
            let ever = life.ended.is_some() || !life.signs.is_empty();
            assert!(ever || !whole, "{id} never was");
            // Without the stop or the other streams, a dropped heartbeat starts a stream.
            let heard = life.heard.filter(|_| !whole);
            let signs = life.signs.last().into_iter().chain(&heard);
            let last = signs.max_by_key(|sign| sign.log_ms + sign.lasts_ms);
            // It also lacks excused periods.
            let known = self.history.is_whole() || observer.misled.is_none();
            if let (Some(sign), Some(log_ms), true) = (last, log_ms, known) {
                assert!(
                    log_ms < sign.log_ms + sign.lasts_ms + slack,
                    "{id} is reported at {log_ms} although it was last seen {sign:?}"
                );
            }
            if let Some(ended) = life.ended
                && self.history.is_whole()
            {
                assert!(ended > fresh, "{id} ended at {ended}, and is reported");
            }
        }
    }
}
