//! Replies, on connections of their own: whatever a reply's address does to the connection that
//! publishes to it, nothing else is on that connection.
//!
//! RabbitMQ before 4.1 closes the connection that publishes to some direct reply-tos, for instance
//! to one of a node that is not running. So replies to processes that have been tried go out
//! together; others go out one by one on a second connection, and so do those that were not
//! confirmed when a connection was lost. The reply that closes that one is dropped.

mod lane;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Addresses, BrokerError, Names, Receipt, ReplyTo, delivery::Way, direct::Process};
use crate::wire::Encoded;
use lane::{Lane, LaneEvent};

/// Most bytes of replies that wait for their confirms.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Memory of a reply beside its body, in bytes.
const REPLY_BYTES: usize = 512;
/// Most processes whose replies wait to be tried one by one. Requests stay unacknowledged until
/// their reply is tried, and must leave room for others among those that a worker takes at once.
const MAX_TRIALS: usize = 32;
/// How long replies to a process are dropped after one has closed the connection.
const UNSOUND_FOR: Duration = Duration::from_secs(1);
/// Most processes remembered for that.
const MAX_UNSOUND: usize = 1_024;
/// Replies that are not confirmed at once.
const TOGETHER: usize = 4_096;
const ONE: usize = 1;
/// Most processes remembered to be sound.
const MAX_KNOWN: usize = 16_384;
/// How long a reply may wait: no requester waits longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A reply is dropped if it was on its connection so often when that was lost.
const MAX_LOSSES: u8 = 2;
/// How long shutting down waits for confirms.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Hands replies to a [`ReplySender`].
#[derive(Clone)]
pub struct Replies {
    jobs: mpsc::UnboundedSender<Job>,
    bytes: Arc<AtomicUsize>,
}

enum Job {
    Reply(Box<Letter>),
    Flush(oneshot::Sender<()>),
}

/// A reply until it is confirmed.
struct Letter {
    to: ReplyTo,
    reply: Encoded,
    receipt: Option<Receipt>,
    at: Instant,
    losses: u8,
}

impl Letter {
    fn process(&self) -> Option<Process> {
        match &self.to.way {
            Way::Queue { name, .. } => Process::of(name.as_str()),
            Way::Topic(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        self.reply.body.len() + REPLY_BYTES
    }
}

impl Replies {
    /// Sends a reply, and acknowledges its request once the broker has confirmed it. Does not
    /// wait. Requeues the request and returns false if too many replies wait.
    #[must_use]
    pub fn reply(&self, to: ReplyTo, reply: Encoded, receipt: Option<Receipt>) -> bool {
        let letter = Box::new(Letter {
            to,
            reply,
            receipt,
            at: Instant::now(),
            losses: 0,
        });
        let bytes = letter.bytes();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused = if before + bytes > MAX_BYTES {
            Some(letter)
        } else {
            match self.jobs.send(Job::Reply(letter)) {
                Err(mpsc::error::SendError(Job::Reply(letter))) => Some(letter),
                _ => None,
            }
        };
        let Some(letter) = refused else { return true };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(receipt) = &letter.receipt {
            receipt.release();
        }
        false
    }

    /// Waits until the replies handed over before are confirmed or dropped, at most 5 s.
    pub async fn flush(&self) {
        let (flushed, done) = oneshot::channel();
        if self.jobs.send(Job::Flush(flushed)).is_ok() {
            let _ = tokio::time::timeout(FLUSH_WITHIN, done).await;
        }
    }
}

/// Events of replies, for operators.
#[derive(Debug)]
pub enum ReplyEvent {
    /// A connection for replies was lost, or cannot be opened; it opens again.
    Lost(BrokerError),
    /// A reply was dropped because its address closes the connection that publishes to it.
    Dropped(BrokerError),
    /// A reply was dropped because its requester no longer waits.
    Expired,
    /// A reply was dropped because too many processes wait to be tried one by one, or a reply to
    /// its process has just closed a connection.
    Crowded,
}

/// Publishes replies, with confirms.
pub struct ReplySender {
    jobs: mpsc::UnboundedReceiver<Job>,
    bytes: Arc<AtomicUsize>,
    /// For queues, and direct reply-tos of processes that are known to be sound.
    together: Lane,
    /// For the others.
    trial: Lane,
    /// For MQTT devices.
    topics: Lane,
    known: HashSet<Process>,
    /// Processes whose replies wait for their trial.
    tried: HashSet<Process>,
    /// Processes whose reply has closed the connection, and when.
    unsound: HashMap<Process, Instant>,
    next: u64,
    waiting: BTreeSet<u64>,
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    is_closed: bool,
}

impl ReplySender {
    /// A sender, and what hands it replies. It runs inside [`Self::next`].
    #[must_use]
    pub fn new(addresses: &Addresses, names: &Names) -> (Replies, Self) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let bytes = Arc::new(AtomicUsize::new(0));
        let lane = |what, window| Lane::new(addresses, names, what, window);
        let replies = Replies {
            jobs: sender,
            bytes: Arc::clone(&bytes),
        };
        let sender = Self {
            jobs,
            bytes,
            together: lane("replies", TOGETHER),
            trial: lane("replies, one by one", ONE),
            topics: lane("replies by MQTT", TOGETHER),
            known: HashSet::new(),
            tried: HashSet::new(),
            unsound: HashMap::new(),
            next: 0,
            waiting: BTreeSet::new(),
            flushes: Vec::new(),
            is_closed: false,
        };
        (replies, sender)
    }

    /// Sends replies until there is something to report. `None` if all [`Replies`] are dropped and
    /// no reply waits.
    pub async fn next(&mut self) -> Option<ReplyEvent> {
        loop {
            self.answer_flushes();
            if self.is_closed && self.waiting.is_empty() {
                let (together, trial) = (self.together.close(), self.trial.close());
                tokio::join!(together, trial, self.topics.close());
                return None;
            }
            let event = tokio::select! {
                job = self.jobs.recv(), if !self.is_closed => self.take(job),
                event = self.together.next() => self.on_together(event),
                event = self.trial.next() => self.on_trial(event),
                event = self.topics.next() => self.on_topics(event),
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn take(&mut self, job: Option<Job>) -> Option<ReplyEvent> {
        match job {
            None => self.is_closed = true,
            Some(Job::Flush(flushed)) => self.flushes.push((self.next, flushed)),
            Some(Job::Reply(letter)) => {
                let letter = *letter;
                let id = self.next;
                self.next += 1;
                self.waiting.insert(id);
                if matches!(letter.to.way, Way::Topic(_)) {
                    self.topics.push(id, letter);
                    return None;
                }
                match letter.process() {
                    Some(process) if !self.known.contains(&process) => {
                        if !self.may_try(process) {
                            self.done(id, &letter);
                            return Some(ReplyEvent::Crowded);
                        }
                        self.trial.push(id, letter);
                    }
                    _ => self.together.push(id, letter),
                }
            }
        }
        None
    }

    fn on_together(&mut self, event: LaneEvent) -> Option<ReplyEvent> {
        match event {
            LaneEvent::Confirmed(id, letter) => self.done(id, &letter),
            LaneEvent::Expired(id, letter) => return self.expired(id, &letter),
            LaneEvent::Lost(error, letters) => {
                // One of them may have closed it. Those in front are tried first.
                for (id, letter) in letters.into_iter().rev() {
                    if let Some(process) = letter.process() {
                        self.known.remove(&process);
                    }
                    self.trial.push_front(id, letter);
                }
                return Some(ReplyEvent::Lost(error));
            }
        }
        None
    }

    fn on_trial(&mut self, event: LaneEvent) -> Option<ReplyEvent> {
        match event {
            LaneEvent::Confirmed(id, letter) => {
                if let Some(process) = letter.process() {
                    self.learn(process);
                }
                self.done(id, &letter);
                None
            }
            LaneEvent::Expired(id, letter) => self.expired(id, &letter),
            LaneEvent::Lost(error, letters) => {
                for (id, mut letter) in letters {
                    letter.losses += 1;
                    if letter.losses < MAX_LOSSES && !error.is_by_a_message() {
                        self.trial.push_front(id, letter);
                    } else {
                        self.done(id, &letter);
                        if let Some(process) = letter.process() {
                            self.give_up(process);
                        }
                        return Some(ReplyEvent::Dropped(error));
                    }
                }
                Some(ReplyEvent::Lost(error))
            }
        }
    }

    fn on_topics(&mut self, event: LaneEvent) -> Option<ReplyEvent> {
        match event {
            LaneEvent::Confirmed(id, letter) => self.done(id, &letter),
            LaneEvent::Expired(id, letter) => return self.expired(id, &letter),
            LaneEvent::Lost(error, letters) => {
                let any = !letters.is_empty();
                for (id, letter) in &letters {
                    self.done(*id, letter);
                }
                return Some(if any {
                    ReplyEvent::Dropped(error)
                } else {
                    ReplyEvent::Lost(error)
                });
            }
        }
        None
    }

    /// Returns whether a reply to this process may wait for its trial.
    fn may_try(&mut self, process: Process) -> bool {
        let is_unsound = |at: &Instant| at.elapsed() < UNSOUND_FOR;
        if self.unsound.get(&process).is_some_and(is_unsound) {
            return false;
        }
        if self.trial.is_idle() {
            self.tried.clear();
        }
        if self.tried.contains(&process) {
            return true;
        }
        self.tried.len() < MAX_TRIALS && self.tried.insert(process)
    }

    /// Drops the replies to this process: one of them has closed the connection.
    fn give_up(&mut self, process: Process) {
        self.tried.remove(&process);
        if self.unsound.len() >= MAX_UNSOUND {
            self.unsound.clear();
        }
        self.unsound.insert(process, Instant::now());
        let dropped = self
            .trial
            .take_if(|letter| letter.process() == Some(process));
        for (id, letter) in dropped {
            self.done(id, &letter);
        }
    }

    /// Replies to this process need no trial any more.
    fn learn(&mut self, process: Process) {
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.tried.remove(&process);
        if self.known.insert(process) {
            let tried = self
                .trial
                .take_if(|letter| letter.process() == Some(process));
            for (id, letter) in tried {
                self.together.push(id, letter);
            }
        }
    }

    fn expired(&mut self, id: u64, letter: &Letter) -> Option<ReplyEvent> {
        self.done(id, letter);
        Some(ReplyEvent::Expired)
    }

    fn done(&mut self, id: u64, letter: &Letter) {
        self.waiting.remove(&id);
        self.bytes.fetch_sub(letter.bytes(), Ordering::Relaxed);
        if let Some(receipt) = &letter.receipt {
            receipt.ack();
        }
    }

    fn answer_flushes(&mut self) {
        let oldest = self.waiting.first().copied().unwrap_or(self.next);
        for (_, flushed) in self.flushes.extract_if(.., |(next, _)| *next <= oldest) {
            let _ = flushed.send(());
        }
    }
}
