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
    /// The worker connects, for the first time or again.
    Connect {
        worker: usize,
        life: u32,
    },
    /// The broker closes the worker's connection, or cancels its consumer.
    Lose {
        worker: usize,
        connection: u32,
    },
    /// The worker's timer fires.
    Tick {
        worker: usize,
        life: u32,
    },
    /// Entries of the log reach the worker.
    Deliver {
        worker: usize,
        connection: u32,
    },
    /// The outcome of an append reaches the worker.
    Confirm {
        worker: usize,
        connection: u32,
        seq: u64,
        ok: bool,
    },
    /// A request reaches the worker.
    Hand {
        worker: usize,
        connection: u32,
        request: u64,
    },
    /// An entry of the worker reaches the log.
    Append {
        worker: usize,
        connection: u32,
        /// The log's epoch as seen by its worker.
        epoch: u32,
        entry: Rc<Entry>,
    },
    /// A worker that shuts down stops.
    Leave {
        worker: usize,
        life: u32,
        away: u64,
    },
    /// The latest time at which one of these workers succeeds a leader that shut down.
    Succeeded {
        /// The workers with their connections.
        heirs: Vec<(usize, u32)>,
    },
    /// The worker writes a snapshot, if it leads.
    Snapshot {
        worker: usize,
        life: u32,
    },
    /// The worker copies accounts into its snapshot.
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
    /// The outcome of an announcement reaches the worker.
    Announced {
        worker: usize,
        connection: u32,
        number: u64,
        round: u32,
        ok: bool,
    },
    /// The broker delivers waiting requests.
    Serve,
    /// A player performs an action.
    Do(Deed),
    /// A player's request times out.
    Retry {
        request: u64,
        deed: Deed,
    },
    /// The sender of batches publishes the gathered events.
    Flush,
    NewPlayer,
    Question,
    Strike,
}
