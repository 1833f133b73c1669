//! What can happen next.

use streamwatch::domain::Entry;

use crate::players::Deed;

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
        entry: Entry,
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
