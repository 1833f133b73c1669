//! Events of the simulation.

use std::rc::Rc;

use streamwatch::domain::{Announcement, Entry};

use crate::{players::Deed, worker::History};

#[derive(Clone, Debug)]
pub enum Event {
    /// A worker's process starts.
    Start {
        worker: usize,
        life: u32,
    },
    /// It connects, for the first time or again.
    Connect {
        worker: usize,
        life: u32,
    },
    /// The broker closes its connection, or cancels its consumer.
    Lose {
        worker: usize,
        connection: u32,
    },
    /// Its timer fires.
    Tick {
        worker: usize,
        life: u32,
    },
    /// The log's entries reach it.
    Deliver {
        worker: usize,
        connection: u32,
    },
    /// It learns what became of its entry.
    Confirm {
        worker: usize,
        connection: u32,
        seq: u64,
        ok: bool,
    },
    /// A request reaches it.
    Hand {
        worker: usize,
        connection: u32,
        request: u64,
    },
    /// Its entry reaches the log.
    Append {
        worker: usize,
        connection: u32,
        /// The log's epoch as seen by its worker.
        epoch: u32,
        entry: Rc<Entry>,
    },
    /// A worker that has left is gone.
    Leave {
        worker: usize,
        life: u32,
        away: u64,
    },
    /// By now a leader that left has been succeeded by one of these, if one still serves.
    Succeeded {
        /// With their connections.
        heirs: Vec<(usize, u32)>,
    },
    /// It writes a snapshot, if it leads.
    Snapshot {
        worker: usize,
        life: u32,
    },
    /// It copies an account.
    Copy {
        worker: usize,
        connection: u32,
    },
    /// A lifecycle event reaches the broker.
    Publish {
        worker: usize,
        connection: u32,
        number: u64,
        /// Number of failures that the worker had noticed.
        round: u32,
        history: History,
        announcement: Box<Announcement>,
    },
    /// It learns what became of that.
    Announced {
        worker: usize,
        connection: u32,
        number: u64,
        round: u32,
        ok: bool,
    },
    /// The broker looks for workers for waiting requests.
    Serve,
    /// A player does something.
    Do(Deed),
    /// A player has waited for an answer.
    Retry {
        request: u64,
        deed: Deed,
    },
    NewPlayer,
    Question,
    Strike,
}
