//! A simulated worker: a replica, its clocks and its connection.

use std::{collections::VecDeque, rc::Rc};

use streamwatch::{
    domain::{Entry, WallTime},
    replica::{Mono, Now, Replica},
};

use crate::{leader::Copying, log::Log};

/// The entries that a replica has applied. Replicas with equal histories are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct History {
    pub generation: u32,
    /// The first offset that was applied.
    pub start: Option<u64>,
}

impl History {
    /// Whether the log was not truncated when the replica started.
    pub fn is_whole(self) -> bool {
        self.start.is_none_or(|start| start == 0)
    }
}

/// The lost entries in a replica's history.
#[derive(Clone, Debug)]
pub struct Lost {
    /// The offset of the first lost entry.
    pub from: u64,
    pub entries: Vec<Rc<Entry>>,
}

impl Lost {
    /// Whether the log has stored equal entries again.
    pub fn came_again(&self, log: &Log) -> bool {
        let mut lost = (self.from..).zip(&self.entries);
        lost.all(|(offset, entry)| offset < log.first() || log.at(offset) == Some(entry))
    }

    /// The part in the history of a replica with all entries up to `last`.
    pub fn up_to(&self, last: u64) -> Option<Self> {
        let known = (last + 1).checked_sub(self.from).filter(|n| *n > 0)?;
        let known = self.entries.len().min(known as usize);
        Some(Self {
            from: self.from,
            entries: self.entries[..known].to_vec(),
        })
    }
}

pub struct Delivery {
    pub due: u64,
    pub generation: u32,
    pub offset: u64,
    pub entry: Rc<Entry>,
}

pub struct Worker {
    pub replica: Replica<u64>,
    /// The writer's number in its entries.
    pub writer: u64,
    pub history: History,
    pub up: bool,
    /// Number of starts. Events of an earlier start are ignored.
    pub life: u32,
    /// Number of connections and their losses.
    pub connection: u32,
    /// The generation of the log of the last snapshot that it read.
    pub remembers: Option<u32>,
    /// The generation of the log that is being delivered.
    pub attached: Option<u32>,
    /// The offset from which on entries are delivered.
    pub from: u64,
    /// Whether the log contained the replica's anchor when it connected.
    pub same_log: bool,
    /// The log's epoch when it connected.
    pub epoch: u32,
    /// Whether its state contains entries that the log has lost.
    pub diverged: Option<Lost>,
    /// The restored snapshot, until it has caught up.
    pub restored: Option<u64>,
    /// The offset from which on its state is complete: a snapshot contains accounts of different
    /// entries.
    pub complete_from: u64,
    /// Rejected snapshots, which are of another log.
    pub rejected: Vec<u64>,
    /// The last marker of its strong requests.
    pub strong_mark: Option<u64>,
    pub told_unavailable: u64,
    pub copying: Option<Copying>,
    /// Number of failed publications that it has noticed.
    pub announce_round: u32,
    /// The first lost publication of this connection and round.
    pub cut: Option<(u32, u32)>,
    pub last_announcement: u64,
    pub last_number: u64,
    pub last_outcome: u64,
    pub inbox: VecDeque<Delivery>,
    pub taking: bool,
    pub stalled_until: u64,
    /// The time of the latest append: appends arrive in order.
    pub last_append: u64,
    /// The true time and log time since which this worker has ticked without a pause.
    pub steady: Option<(u64, u64)>,
    /// The true time since which it has led at each tick.
    pub leads_since: Option<u64>,
    mono_us: u64,
    wall_ms: i64,
}

impl Worker {
    pub fn new(rng: &mut fastrand::Rng) -> Self {
        let writer = rng.u64(..);
        Self {
            replica: Replica::new(writer),
            writer,
            history: History {
                generation: 0,
                start: None,
            },
            up: false,
            life: 0,
            connection: 0,
            remembers: None,
            attached: None,
            from: 0,
            same_log: false,
            epoch: 0,
            diverged: None,
            restored: None,
            complete_from: 0,
            rejected: Vec::new(),
            strong_mark: None,
            told_unavailable: 0,
            copying: None,
            announce_round: 0,
            cut: None,
            last_announcement: 0,
            last_number: 0,
            last_outcome: 0,
            inbox: VecDeque::new(),
            taking: false,
            stalled_until: 0,
            last_append: 0,
            steady: None,
            leads_since: None,
            mono_us: rng.u64(..1 << 40),
            wall_ms: 1_700_000_000_000 + rng.i64(-1_000..1_000),
        }
    }

    pub fn clocks(&self, now: u64) -> Now {
        Now {
            mono: Mono(self.mono_us + now * 1_000),
            wall: WallTime(self.wall_ms + now as i64),
        }
    }

    /// Whether it has ticked for long without a pause, and is not stalled.
    pub fn is_steady(&self, now: u64, interval_ms: u64) -> bool {
        let since = self.steady.map(|(since, _)| since);
        self.stalled_until <= now
            && self.replica.is_live(self.clocks(now).mono)
            && since.is_some_and(|since| since + 8 * interval_ms <= now)
    }

    pub fn step_wall(&mut self, ms: i64) {
        self.wall_ms += ms;
    }

    pub fn step_mono(&mut self, ms: u64) {
        self.mono_us += ms * 1_000;
    }

    /// Ends the process, and drops its state.
    pub fn die(&mut self, writer: u64) {
        self.replica = Replica::new(writer);
        self.writer = writer;
        self.up = false;
        self.life += 1;
        self.rejected.clear();
        self.lose_connection();
    }

    pub fn lose_connection(&mut self) {
        self.connection += 1;
        self.attached = None;
        self.taking = false;
        self.strong_mark = None;
        self.steady = None;
        self.inbox.clear();
    }
}
