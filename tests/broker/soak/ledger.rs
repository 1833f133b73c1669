//! The viewers' view of their streams, and the resulting expectations.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use streamwatch::client::{AccountStatus, StreamId};

use super::logtime::{LogTime, Wall, counts_for, now};

/// How long a request to open may wait in its queue.
const QUEUED: i64 = 10_000;
/// How long it is valid once a worker has it, in log time.
const VALID: i64 = 10_000;
/// The time that a request may wait in a socket of a node that is not frozen.
const UNREAD: i64 = 1_000;

/// A stream's life, as seen by its player.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// When the first request for it was sent. A stream keeps a longer TTL that was in force since.
    began: Option<Wall>,
    /// From here on no two signs of life were further apart than the TTL.
    counts: Option<Wall>,
    /// The first time.
    first: Option<Wall>,
    /// When the last sign of life that was confirmed had been sent.
    sent: Wall,
    /// The last moment at which a sign of life may have come to the log.
    possible: Wall,
    /// The same, when nothing but an unanswered request to open is meant: it may be decided on
    /// so much later, in log time.
    valid: i64,
    /// The outcome of the last heartbeat is unknown.
    doubt: bool,
    /// Its end is under way: from here on it may count or not.
    ending: Option<Wall>,
    /// Its end is confirmed: from here on it does not count.
    gone: Option<Wall>,
    /// By a stop.
    stopped: bool,
    /// Confirmed heartbeats.
    pub beats: u32,
}

impl Life {
    /// True if its player got the reply that it is active.
    pub const fn counted(&self) -> bool {
        self.counts.is_some()
    }

    /// Its player ended it, and the broker has the stop.
    pub const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Its player has ended it, or no longer plays.
    pub const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// It fell silent, and everything it sent is known to be in the log or not.
    pub const fn crashed(&self) -> bool {
        self.ending.is_some() && self.gone.is_none() && !self.doubt
    }

    /// It is being played, and no two signs of life were ever further apart than the TTL.
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
    /// The last moment at which a request to open that was sent at `sent` may leave its queue.
    fn leaves_queue(self, sent: Wall) -> Wall {
        let waits = (self.from - UNREAD..self.until).contains(&sent);
        (if waits { self.until } else { sent }).saturating_add(QUEUED)
    }
}

/// How long an interval between two signs of life may be: the shortest TTL of the run.
pub struct Ledger {
    shortest_ttl: i64,
    frozen: Mutex<Frozen>,
    accounts: Mutex<HashMap<String, Account>>,
}

/// An answer to be judged, with the expectations at its arrival.
#[derive(Debug)]
pub struct Answer {
    pub account: String,
    pub asked: Wall,
    pub answered: Wall,
    said: Vec<StreamId>,
    known: HashMap<StreamId, Life>,
    above: usize,
}

/// The mistakes in an answer.
#[derive(Debug, Default)]
pub struct Mistakes {
    pub missing: Vec<String>,
    pub ghosts: Vec<String>,
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

    /// Of this account no more streams are admitted than these, if any limit is given.
    pub fn account(&self, name: &str, max_active: Option<u32>) {
        let max_active = max_active.map(|max| usize::try_from(max).expect("a small number"));
        self.lock().entry(name.to_owned()).or_default().max_active = max_active;
    }

    fn change(&self, account: &str, stream: StreamId, change: impl FnOnce(&mut Life)) {
        let mut accounts = self.lock();
        let account = accounts.get_mut(account).expect("its account was named");
        change(account.lives.entry(stream).or_default());
    }

    /// A sign of life is about to be sent. Returns when that was.
    pub fn sending(&self, account: &str, stream: StreamId) -> Wall {
        let now = now();
        self.change(account, stream, |life| {
            life.began = life.began.or(Some(now));
            life.doubt = true;
        });
        now
    }

    /// A message sent at `sent` reached the log, as an answer or a confirm proves.
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

    /// An `init` sent at `sent` was not answered: it may still be pending.
    pub fn unanswered(&self, account: &str, stream: StreamId, sent: Wall) {
        let frozen = *self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(account, stream, |life| {
            life.possible = life.possible.max(frozen.leaves_queue(sent));
            life.valid = VALID;
            life.doubt = false;
        });
    }

    /// A node is about to be frozen.
    pub fn freezes(&self) {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        *frozen = Frozen {
            from: now(),
            until: Wall::MAX,
        };
    }

    /// The node runs again: requests that waited in sockets enter their queues, each with its
    /// whole time to live.
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

    /// A request to open was refused: it is the player's last.
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

    /// Its stop is about to be sent, or its heartbeats have ended.
    pub fn ending(&self, account: &str, stream: StreamId) {
        let now = now();
        self.change(account, stream, |life| life.ending = Some(now));
    }

    /// The broker has its stop.
    pub fn stopped(&self, account: &str, stream: StreamId) {
        let now = now();
        self.change(account, stream, |life| {
            life.gone = Some(now);
            life.stopped = true;
        });
    }

    /// Everything that was ever sent has come to the log by now, or never will.
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

    /// A stream that is being played.
    pub fn playing(&self, random: &mut Rng) -> Option<(String, StreamId)> {
        let accounts = self.lock();
        let (name, account) = accounts.iter().nth(random.usize(..accounts.len().max(1)))?;
        let mut lives = account.lives.iter();
        let playing = lives.find(|(_, life)| life.counted() && !life.is_ending())?;
        Some((name.clone(), *playing.0))
    }

    /// All streams there ever were, by account.
    pub fn lives(&self) -> Vec<(String, StreamId, Life)> {
        let accounts = self.lock();
        let all = accounts.iter().flat_map(|(name, account)| {
            let lives = account.lives.iter();
            lives.map(|(stream, life)| (name.clone(), *stream, *life))
        });
        all.collect()
    }

    /// Records an answer with the expectations at its arrival.
    pub fn answer(&self, account: &str, asked: Wall, status: &AccountStatus) -> Answer {
        let accounts = self.lock();
        let known = accounts.get(account).expect("its account was named");
        let streams = &status.activity.streams;
        let admitted = streams.iter().filter(|stream| stream.admitted).count();
        Answer {
            account: account.to_owned(),
            asked,
            answered: now(),
            said: streams.iter().map(|stream| stream.stream).collect(),
            known: known.lives.clone(),
            above: known
                .max_active
                .map_or(0, |max| admitted.saturating_sub(max)),
        }
    }
}

impl Answer {
    /// Returns its mistakes, once the log's time at its arrival is available.
    pub fn judge(&self, time: &LogTime) -> Mistakes {
        let mut mistakes = Mistakes::default();
        for (stream, life) in &self.known {
            if !self.said.contains(stream) && self.must_count(life, time) {
                let text = self.text("is missing", *stream, Some(life));
                mistakes.missing.push(text);
            }
        }
        for stream in &self.said {
            let life = self.known.get(stream);
            if life.is_some_and(|life| life.doubt) {
                mistakes.doubtful += 1;
            } else if !life.is_some_and(|life| self.may_count(life, time)) {
                mistakes
                    .ghosts
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
        // Log time is no excuse where it ran ahead of time.
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
            "{}: {stream} {what}, asked {}, answered {}: {life:?}",
            self.account, self.asked, self.answered
        )
    }
}
