//! Effects that a replica requests from its caller.

use super::Mono;
use crate::domain::{
    Announcement, Answer, HeartbeatOutcome, InternalEntry, OpenOutcome, StopOutcome, TenantAnswer,
    WallTime,
};

/// The clocks of the machine, read once for each input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// The monotonic clock, for the estimate of log time and for timeouts.
    pub mono: Mono,
    /// The wall clock, which is only shown.
    pub wall: WallTime,
}

/// An effect. `T` identifies a request of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// Append this entry to the log, and report the outcome with [`super::Replica::appended`].
    Append(InternalEntry),
    /// Send the answer, then acknowledge the request.
    Answer {
        /// The request.
        request: T,
        /// The answer to send.
        answer: Answer,
        /// The metadata keys to count the streams by.
        group_by: Vec<String>,
    },
    /// Send the answer about a tenant, then acknowledge the request.
    AnswerTenant {
        /// The request.
        request: T,
        /// The answer to send.
        answer: TenantAnswer,
    },
    /// The request was too late: reply with `late`, then acknowledge it.
    Late(T),
    /// The outcome of the request is unknown: reply with `unavailable`, then acknowledge it.
    Unavailable(T),
    /// The request uses a field that the rules of the installation do not have: reply with
    /// `old_rules`, then acknowledge it.
    OldRules {
        /// The request.
        request: T,
        /// The field.
        field: &'static str,
    },
    /// Requeue the request for another replica.
    Release(T),
    /// Publish a lifecycle event, in order, and report the outcome with
    /// [`super::Replica::announced`].
    Announce {
        /// The replica's number of the event.
        number: u64,
        /// The event.
        announcement: Box<Announcement>,
    },
    /// Keep requests from the local queues with these numbers: no worker consumes them any more.
    Unbind(Vec<u64>),
    /// Whether this replica leads its partition has changed.
    Leads(bool),
    /// Stop consuming requests: this replica is not fresh enough to answer.
    Pause,
    /// Consume requests.
    Resume,
}

/// The result of applying an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It had been applied before, or came before the log's settings and time were known.
    Skipped,
    /// A heartbeat.
    Heartbeat(HeartbeatOutcome),
    /// A stop.
    Stop(StopOutcome),
    /// A batch: the outcome of each event, in the order of [`crate::domain::Batch::events`].
    Batch(Vec<Applied>),
    /// A proposal to open.
    Open(OpenOutcome),
    /// It uses this field, which the rules in force do not have. Nothing changed.
    OldRules(&'static str),
    /// A tick, settings, or a capacity change.
    Internal,
}

/// The reason why a replica must attach to its log again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The log does not contain the entries that the replica had applied: it has discarded its
    /// state.
    #[error("the log does not contain the applied entries; the replica starts over")]
    AnotherLog,
    /// The broker has confirmed an entry and does not deliver it.
    #[error("the log delivers no entries although RabbitMQ confirms appends; attaching again")]
    Silent,
    /// The log's settings require an unsupported version of the rules. The state is discarded, as
    /// entries were not applied.
    #[error("the log requires rules version {0}, which this version does not support; upgrade it")]
    UnknownRules(u32),
}
