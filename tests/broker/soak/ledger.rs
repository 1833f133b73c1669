//! The state of the viewers' streams, and the resulting expectations of replies.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use streamwatch::client::{AccountStatus, StreamId};

use super::log_time::{LogTime, Wall, counts_for, now};

/// Longest wait of an `init` in its queue, in milliseconds.
const QUEUED: i64 = 10_000;
/// Time until a worker rejects an `init` as late, in milliseconds of log time.
const VALID: i64 = 10_000;
/// Longest wait of a request in a socket of a running node, in milliseconds.
const UNREAD: i64 = 1_000;

/// A stream's life, as seen by its player.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// Time of its first request. A stream keeps a longer TTL that was in force since.
    began: Option<Wall>,
    /// Since then, no two signs of life were further apart than the TTL.
    counts: Option<Wall>,
    /// The first value of `counts`.
    first: Option<Wall>,
    /// Time of sending of the last confirmed sign of life.
    sent: Wall,
    /// The latest time at which a sign of life may have reached the log.
    possible: Wall,
    /// Log time by which an unanswered `init` may be decided later than `possible`.
    valid: i64,
    /// The outcome of the last heartbeat is unknown.
    doubt: bool,
    /// Its end is in transit: it may count or not.
    ending: Option<Wall>,
    /// Its end is confirmed: it does not count.
    gone: Option<Wall>,
    /// It ended by a stop.
    stopped: bool,
    /// Confirmed heartbeats.
    pub beats: u32,
}

impl Life {
    /// True if its player got the reply that it is active.
    pub const fn counted(&self) -> bool {
        self.counts.is_some()
    }

    /// True if the broker has confirmed its stop.
    pub const fn stopped(&self) -> bool {
        self.stopped
    }

    /// True if its player has ended it, or no longer plays.
    pub const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// True if it ended without a stop, and the outcome of each of its messages is known.
    pub const fn crashed(&self) -> bool {
        self.ending.is_some() && self.gone.is_none() && !self.doubt
    }

    /// True if it plays, and no two signs of life were ever further apart than the TTL.
    pub fn steady(&self) -> bool {
        self.ending.is_none() && self.counts.is_some() && self.counts == self.first
    }
}

#[derive(Default)]
struct Account {
    max_active: Option<usize>,
    lives: HashMap<StreamId, Life>,
}

/// The last time that a node was frozen. Messages to it wait in sockets meanwhile.
#[derive(Clone, Copy)]
struct Frozen {
    from: Wall,
    /// [`Wall::MAX`] while it is frozen.
    until: Wall,
}

impl Frozen {
    /// The latest time at which an `init` that was sent at `sent` may leave its queue.
    fn leaves_queue(self, sent: Wall) -> Wall {
        let waits = (self.from - UNREAD..self.until).contains(&sent);
        (if waits { self.until } else { sent }).saturating_add(QUEUED)
    }
}

/// The viewers' streams by account.
pub struct Ledger {
    /// Longest interval between two signs of life: the shortest TTL of the run.
    shortest_ttl: i64,
    frozen: Mutex<Frozen>,
    accounts: Mutex<HashMap<String, Account>>,
}

/// A reply, with the expectations at its arrival.
#[derive(Debug)]
pub struct Answer {
    pub account: String,
    pub asked: Wall,
    pub answered: Wall,
    listed: Vec<StreamId>,
    known: HashMap<StreamId, Life>,
    above: usize,
}

/// The violations in a reply.
#[derive(Debug, Default)]
pub struct Mistakes {
    pub missing: Vec<String>,
    pub over_counted: Vec<String>,
    pub above: Vec<String>,
    /// Streams that may be active or not, because their players had no reply.
    pub doubtful: usize,
}

impl Ledger {
    pub fn new(shortest_ttl: i64) -> Self {
        Self {
            shortest_ttl,
            frozen: Mutex::new(Frozen { from: 0, until: 0 }),
            accounts: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an account, with its limit of admitted streams.
    pub fn account(&self, name: &str, max_active: Option<u32>) {
        let max_active = max_active.map(|max| usize::try_from(max).expect("a small number"));
        self.lock().entry(name.to_owned()).or_default().max_active = max_active;
    }

    fn change(&self, account: &str, stream: StreamId, change: impl FnOnce(&mut Life)) {
        let mut accounts = self.lock();
        let account = accounts.get_mut(account).expect("its account was named");
        change(account.lives.entry(stream).or_default());
    }

    /// Records that a sign of life is about to be sent. Returns the time.
    pub fn sending(&self, account: &str, stream: StreamId) -> Wall {
        let now = now();
        self.change(account, stream, |life| {
            life.began = life.began.or(Some(now));
            life.doubt = true;
        });
        now
    }

    /// Records that a message sent at `sent` reached the log, as a reply or a confirm proves.
    pub fn alive(&self, account: &str, stream: StreamId, sent: Wall, event: bool) {
        let (now, ttl) = (now(), self.shortest_ttl);
        self.change(account, stream, |life| {
            life.counts = match life.counts {
                Some(since) if now - life.sent < ttl => Some(since),
                _ => Some(now),
            };
            life.first = life.first.or(life.counts);
            life.sent = sent;
            life.possible = life.possible.max(now);
            life.doubt = false;
            life.beats += u32::from(event);
        });
    }

    /// Records that an `init` sent at `sent` was not answered: it may still be pending.
    pub fn unanswered(&self, account: &str, stream: StreamId, sent: Wall) {
        let frozen = *self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(account, stream, |life| {
            life.possible = life.possible.max(frozen.leaves_queue(sent));
            life.valid = VALID;
            life.doubt = false;
        });
    }

    /// Records that a node is about to be frozen.
    pub fn freezes(&self) {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        *frozen = Frozen {
            from: now(),
            until: Wall::MAX,
        };
    }

    /// Records that the node runs again. Requests that waited in sockets enter their queues with
    /// their full TTL.
    pub fn thawed(&self) {
        let until = now();
        self.frozen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .until = until;
        for account in self.lock().values_mut() {
            for life in account.lives.values_mut() {
                if life.possible == Wall::MAX {
                    life.possible = until + QUEUED;
                }
            }
        }
    }

    /// Records that an `init` was refused, which is the player's last.
    pub fn refused(&self, account: &str, stream: StreamId) {
        let now = now();
        self.change(account, stream, |life| {
            life.doubt = false;
            life.ending = Some(now);
            // An unanswered `init` may still open it.
            if life.possible == 0 {
                life.gone = Some(now);
            }
        });
    }

    /// Records that its stop is about to be sent, or that its heartbeats have ended.
    pub fn ending(&self, account: &str, stream: StreamId) {
        let now = now();
        self.change(account, stream, |life| life.ending = Some(now));
    }

    /// Records that the broker has confirmed its stop.
    pub fn stopped(&self, account: &str, stream: StreamId) {
        let now = now();
        self.change(account, stream, |life| {
            life.gone = Some(now);
            life.stopped = true;
        });
    }

    /// Records that no message is in transit any more.
    pub fn no_more_doubt(&self) {
        let now = now();
        for account in self.lock().values_mut() {
            for life in account.lives.values_mut().filter(|life| life.doubt) {
                life.doubt = false;
                life.possible = now;
            }
        }
    }

    pub fn accounts(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// A random playing stream.
    pub fn playing(&self, random: &mut Rng) -> Option<(String, StreamId)> {
        let accounts = self.lock();
        let (name, account) = accounts.iter().nth(random.usize(..accounts.len().max(1)))?;
        let mut lives = account.lives.iter();
        let playing = lives.find(|(_, life)| life.counted() && !life.is_ending())?;
        Some((name.clone(), *playing.0))
    }

    /// All streams, past ones included, by account.
    pub fn lives(&self) -> Vec<(String, StreamId, Life)> {
        let accounts = self.lock();
        let all = accounts.iter().flat_map(|(name, account)| {
            let lives = account.lives.iter();
            lives.map(|(stream, life)| (name.clone(), *stream, *life))
        });
        all.collect()
    }

    /// Combines a reply with the expectations at its arrival.
    pub fn answer(&self, account: &str, asked: Wall, status: &AccountStatus) -> Answer {
        let accounts = self.lock();
        let known = accounts.get(account).expect("its account was named");
        let streams = &status.activity.streams;
        let admitted = streams.iter().filter(|stream| stream.admitted).count();
        Answer {
            account: account.to_owned(),
            asked,
            answered: now(),
            listed: streams.iter().map(|stream| stream.stream).collect(),
            known: known.lives.clone(),
            above: known
                .max_active
                .map_or(0, |max| admitted.saturating_sub(max)),
        }
    }
}

impl Answer {
    /// Returns its violations. `time` must cover its arrival.
    pub fn judge(&self, time: &LogTime) -> Mistakes {
        let mut mistakes = Mistakes::default();
        for (stream, life) in &self.known {
            if !self.listed.contains(stream) && self.must_count(life, time) {
                let text = self.text("is missing", *stream, Some(life));
                mistakes.missing.push(text);
            }
        }
        for stream in &self.listed {
            let life = self.known.get(stream);
            if life.is_some_and(|life| life.doubt) {
                mistakes.doubtful += 1;
            } else if !life.is_some_and(|life| self.may_count(life, time)) {
                mistakes
                    .over_counted
                    .push(self.text("is over-counted", *stream, life));
            }
        }
        if self.above > 0 {
            let text = format!("{}: {} admitted too many", self.account, self.above);
            mistakes.above.push(text);
        }
        mistakes
    }

    fn must_count(&self, life: &Life, time: &LogTime) -> bool {
        let begun = life.counts.is_some_and(|since| since <= self.asked);
        let ended = life.ending.is_some_and(|at| at <= self.answered);
        if !begun || ended {
            return false;
        }
        let span = time.at_most(life.sent, life.possible, self.answered);
        // Log time that runs ahead of time is no excuse.
        span.is_some_and(|span| span.passed.min(self.answered - life.sent) < span.ttl)
    }

    fn may_count(&self, life: &Life, time: &LogTime) -> bool {
        if life.gone.is_some_and(|at| at <= self.asked) {
            return false;
        }
        let began = life.began.unwrap_or(life.sent);
        let span = time.at_least(began, life.possible, self.asked);
        span.is_none_or(|span| span.passed - life.valid <= counts_for(span.ttl))
    }

    fn text(&self, what: &str, stream: StreamId, life: Option<&Life>) -> String {
        format!(
            "{}: {stream} {what}, requested {}, answered {}: {life:?}",
            self.account, self.asked, self.answered
        )
    }
}
