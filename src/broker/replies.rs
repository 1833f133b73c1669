//! Publishing replies, with confirms, on connections that carry nothing else.
//!
//! RabbitMQ before 4.1 closes a connection that publishes to certain direct reply-tos, for instance
//! to one of a stopped node. A process is therefore probed before it shares a connection: its first
//! reply is published on a second connection, one reply at a time. Replies that were unconfirmed
//! when the shared connection closed are probed in the same way. A reply that closes the second
//! connection is dropped.

mod connection;
mod handle;
mod pending;
mod processes;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{Addresses, BrokerError, Names, direct::Process, reply_to::ReplyRoute};
use connection::{ConnectionEvent, ReplyConnection};
use handle::Job;
pub use handle::Replies;
use pending::PendingReply;
use processes::Processes;

/// Most unconfirmed replies of a shared connection.
const SHARED_WINDOW: usize = 4_096;
/// Most unconfirmed replies of the probing connection.
const PROBING_WINDOW: usize = 1;
/// Longest wait of a reply: its requester has timed out by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// A reply is dropped after its connection was lost this many times.
const MAX_LOSSES: u8 = 2;

/// An event to report to operators.
#[derive(Debug)]
pub enum ReplyEvent {
    /// A connection for replies was lost, or could not be opened. It is opened again.
    Lost(BrokerError),
    /// A reply was dropped because its address closes the connection that publishes to it.
    Dropped(BrokerError),
    /// A reply was not published, because it was outdated or its requester has timed out.
    Expired,
    /// A reply was dropped because too many processes wait to be probed, or a reply to
    /// its process has just closed a connection.
    Crowded,
}

/// Publishes replies, with confirms.
pub struct ReplySender {
    jobs: mpsc::UnboundedReceiver<Job>,
    bytes: Arc<AtomicUsize>,
    /// Replies to queues and to sound processes.
    shared: ReplyConnection,
    /// Replies to other processes.
    probing: ReplyConnection,
    /// Replies to MQTT devices.
    topics: ReplyConnection,
    processes: Processes,
    /// The number of the next reply.
    next: u64,
    waiting: BTreeSet<u64>,
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    is_closed: bool,
}

impl ReplySender {
    /// Creates a sender and its handle. The sender runs inside [`Self::next`].
    #[must_use]
    pub fn new(addresses: &Addresses, names: &Names) -> (Replies, Self) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let bytes = Arc::new(AtomicUsize::new(0));
        let connection = |what, window| ReplyConnection::new(addresses, names, what, window);
        let replies = Replies {
            jobs: sender,
            bytes: Arc::clone(&bytes),
        };
        let sender = Self {
            jobs,
            bytes,
            shared: connection("replies", SHARED_WINDOW),
            probing: connection("replies, one by one", PROBING_WINDOW),
            topics: connection("replies by MQTT", SHARED_WINDOW),
            processes: Processes::default(),
            next: 0,
            waiting: BTreeSet::new(),
            flushes: Vec::new(),
            is_closed: false,
        };
        (replies, sender)
    }

    /// Sends replies until there is an event to report. `None` once every [`Replies`] is dropped
    /// and no reply is left.
    pub async fn next(&mut self) -> Option<ReplyEvent> {
        loop {
            self.answer_flushes();
            if self.is_closed && self.waiting.is_empty() {
                let (shared, probing) = (self.shared.close(), self.probing.close());
                tokio::join!(shared, probing, self.topics.close());
                return None;
            }
            let event = tokio::select! {
                job = self.jobs.recv(), if !self.is_closed => self.take(job),
                event = self.shared.next() => self.on_shared(event),
                event = self.probing.next() => self.on_probing(event),
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
            Some(Job::Reply(pending)) => {
                let pending = *pending;
                let id = self.next;
                self.next += 1;
                self.waiting.insert(id);
                if matches!(pending.to.route, ReplyRoute::Topic(_)) {
                    self.topics.push(id, pending);
                    return None;
                }
                match pending.process() {
                    Some(process) if !self.processes.is_sound(process) => {
                        if self.probing.is_idle() {
                            self.processes.none_is_probed();
                        }
                        if !self.processes.may_probe(process) {
                            self.done(id, &pending);
                            return Some(ReplyEvent::Crowded);
                        }
                        self.probing.push(id, pending);
                    }
                    _ => self.shared.push(id, pending),
                }
            }
        }
        None
    }

    fn on_shared(&mut self, event: ConnectionEvent) -> Option<ReplyEvent> {
        match event {
            ConnectionEvent::Confirmed(id, pending) => self.done(id, &pending),
            ConnectionEvent::Expired(id, pending) => return self.expired(id, &pending),
            ConnectionEvent::Lost(error, unconfirmed) => {
                // Any of these may have closed the connection. They are probed in their order.
                for (id, pending) in unconfirmed.into_iter().rev() {
                    if let Some(process) = pending.process() {
                        self.processes.suspect(process);
                    }
                    self.probing.push_front(id, pending);
                }
                return Some(ReplyEvent::Lost(error));
            }
        }
        None
    }

    fn on_probing(&mut self, event: ConnectionEvent) -> Option<ReplyEvent> {
        match event {
            ConnectionEvent::Confirmed(id, pending) => {
                if let Some(process) = pending.process() {
                    self.mark_sound(process);
                }
                self.done(id, &pending);
                None
            }
            ConnectionEvent::Expired(id, pending) => self.expired(id, &pending),
            ConnectionEvent::Lost(error, unconfirmed) => {
                for (id, mut pending) in unconfirmed {
                    pending.losses += 1;
                    if pending.losses < MAX_LOSSES && !error.is_by_a_message() {
                        self.probing.push_front(id, pending);
                    } else {
                        self.done(id, &pending);
                        if let Some(process) = pending.process() {
                            self.mark_unsound(process);
                        }
                        return Some(ReplyEvent::Dropped(error));
                    }
                }
                Some(ReplyEvent::Lost(error))
            }
        }
    }

    fn on_topics(&mut self, event: ConnectionEvent) -> Option<ReplyEvent> {
        match event {
            ConnectionEvent::Confirmed(id, pending) => self.done(id, &pending),
            ConnectionEvent::Expired(id, pending) => return self.expired(id, &pending),
            ConnectionEvent::Lost(error, unconfirmed) => {
                let any = !unconfirmed.is_empty();
                for (id, pending) in &unconfirmed {
                    self.done(*id, pending);
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

    /// Records that a reply to `process` closed the connection, and drops the waiting ones.
    fn mark_unsound(&mut self, process: Process) {
        self.processes.mark_unsound(process);
        let dropped = self
            .probing
            .take_if(|pending| pending.process() == Some(process));
        for (id, pending) in dropped {
            self.done(id, &pending);
        }
    }

    /// Records that a reply to `process` was confirmed, and moves the waiting ones to the shared
    /// connection.
    fn mark_sound(&mut self, process: Process) {
        if self.processes.mark_sound(process) {
            let probed = self
                .probing
                .take_if(|pending| pending.process() == Some(process));
            for (id, pending) in probed {
                self.shared.push(id, pending);
            }
        }
    }

    fn expired(&mut self, id: u64, pending: &PendingReply) -> Option<ReplyEvent> {
        // RabbitMQ delivers the request again only if it has not expired.
        if let Some(receipt) = &pending.receipt {
            receipt.release();
        }
        self.forget(id, pending);
        Some(ReplyEvent::Expired)
    }

    fn done(&mut self, id: u64, pending: &PendingReply) {
        if let Some(receipt) = &pending.receipt {
            receipt.ack();
        }
        self.forget(id, pending);
    }

    fn forget(&mut self, id: u64, pending: &PendingReply) {
        self.waiting.remove(&id);
        self.bytes.fetch_sub(pending.bytes(), Ordering::Relaxed);
    }

    fn answer_flushes(&mut self) {
        let oldest = self.waiting.first().copied().unwrap_or(self.next);
        for (_, flushed) in self.flushes.extract_if(.., |(next, _)| *next <= oldest) {
            let _ = flushed.send(());
        }
    }
}
