//! What a replica asks of the world around it.

use crate::domain::{Announcement, Answer, Entry, HeartbeatOutcome, OpenOutcome, StopOutcome};

use super::Mono;
use crate::domain::WallTime;

/// The clocks of the machine, read once for each input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Decides how far this replica's estimate has run.
    pub mono: Mono,
    /// Only shown.
    pub wall: WallTime,
}

/// Something to be done. `T` is what the caller knows a request by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// Append this entry to the log, and say with [`super::Replica::appended`] what became of it.
    Append(Entry),
    /// Send the answer, then acknowledge the request.
    Answer {
        /// Whose.
        request: T,
        /// What to send.
        answer: Answer,
        /// The metadata keys to count the streams by.
        group_by: Vec<String>,
    },
    /// The request came too late: say so, then acknowledge it.
    Late(T),
    /// What became of the request is not known: say so, then acknowledge it.
    Unavailable(T),
    /// Leave the request to another replica: put it back.
    Release(T),
    /// Tell those who follow the lifecycle, in order, and say with
    /// [`super::Replica::announced`] what became of it.
    Announce {
        /// By which the replica knows it.
        number: u64,
        /// What to tell.
        announcement: Box<Announcement>,
    },
    /// This replica leads its partition from here on, or no longer.
    Leads(bool),
    /// Take no more requests: this replica is not fresh enough to answer.
    Pause,
    /// Take requests.
    Resume,
}

/// What an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It had been applied before, or came before the log's settings and time were known.
    Skipped,
    /// A heartbeat.
    Heartbeat(HeartbeatOutcome),
    /// A stop.
    Stop(StopOutcome),
    /// A proposal to open.
    Open(OpenOutcome),
    /// A tick, settings, or a capacity change.
    Internal,
}

/// Why a replica cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// What the replica had applied is not in the log: it has thrown its state away.
    #[error("this is not the log that was being followed; starting over")]
    AnotherLog,
    /// The broker has confirmed an entry and does not deliver it.
    #[error("the log delivers nothing although its entries are confirmed; attaching anew")]
    Silent,
    /// The log's settings name rules that this program does not know. The state is thrown away:
    /// entries were not applied.
    #[error("the log asks for rules version {0}, which this program does not know; upgrade it")]
    UnknownRules(u32),
}
