//! Lifecycle events of streams.

use super::{
    AccountKey, LogTime, Metadata, Moment, Open, RefusedReason, StoppedReason, StreamId,
    StreamRecord, WallShift, WallTime,
};

/// One thing that happened to one stream at one entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// To which stream.
    pub stream: StreamId,
    /// When, as shown at that entry.
    pub at: WallTime,
    /// What.
    pub kind: LifecycleEventKind,
    /// The stream's metadata.
    pub metadata: Metadata,
}

/// A lifecycle event to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The entry at which it happened.
    pub offset: u64,
    /// To whose stream.
    pub key: AccountKey,
    /// The account's active streams behind that entry.
    pub count: u32,
    /// What happened.
    pub event: LifecycleEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LifecycleEventKind {
    /// It counts from now on, or was begun by a heartbeat and is admitted now.
    Opened {
        /// Begun, or confirmed now, by a request to open; not by a heartbeat alone.
        admitted: bool,
        /// When it began.
        started_at: WallTime,
    },
    /// An `init` of it was refused. Emitted once, even if the request is repeated.
    Refused {
        /// Why.
        reason: RefusedReason,
        /// The limit that the request named.
        max_active: Option<u32>,
    },
    /// It was ended while it counted.
    Stopped {
        /// By what.
        reason: StoppedReason,
        /// When it began.
        started_at: WallTime,
    },
    /// It fell silent, and its time is up.
    Expired {
        /// When it began.
        started_at: WallTime,
        /// Its last sign of life.
        last_seen: WallTime,
        /// Its deadline in log time, which distinguishes expiries of one stream.
        deadline: LogTime,
    },
}

impl LifecycleEvent {
    pub(super) fn of_opened(moment: &Moment, stream: &StreamRecord) -> Self {
        let kind = LifecycleEventKind::Opened {
            admitted: stream.admitted,
            started_at: stream.started_at,
        };
        Self::of(stream, moment.now, moment.shift, kind)
    }

    pub(super) fn of_refused(moment: &Moment, open: &Open, reason: RefusedReason) -> Self {
        Self {
            stream: open.stream,
            at: moment.shift.show(moment.now),
            kind: LifecycleEventKind::Refused {
                reason,
                max_active: open.max_active,
            },
            metadata: open.metadata.clone(),
        }
    }

    pub(super) fn of_stopped(
        moment: &Moment,
        stream: &StreamRecord,
        reason: StoppedReason,
    ) -> Self {
        let kind = LifecycleEventKind::Stopped {
            reason,
            started_at: stream.started_at,
        };
        Self::of(stream, moment.now, moment.shift, kind)
    }

    pub(super) fn of_expired(now: LogTime, shift: WallShift, stream: &StreamRecord) -> Self {
        let kind = LifecycleEventKind::Expired {
            started_at: stream.started_at,
            last_seen: shift.show(stream.last_seen).max(stream.started_at),
            deadline: stream.deadline(),
        };
        Self::of(stream, now, shift, kind)
    }

    fn of(stream: &StreamRecord, now: LogTime, shift: WallShift, kind: LifecycleEventKind) -> Self {
        Self {
            stream: stream.id,
            at: shift.show(now),
            kind,
            metadata: stream.metadata.clone(),
        }
    }
}
