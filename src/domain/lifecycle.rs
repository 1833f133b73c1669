//! Lifecycle events of streams.

use super::{
    AccountKey, LogTime, Metadata, Moment, Open, RefusedReason, StoppedReason, StreamId,
    StreamRecord, WallShift, WallTime,
};

/// A change of one stream, caused by one entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// The stream.
    pub stream: StreamId,
    /// The wall time at that entry.
    pub at: WallTime,
    /// The change.
    pub kind: LifecycleEventKind,
    /// The stream's metadata.
    pub metadata: Metadata,
}

/// A lifecycle event to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The offset of the entry that caused it.
    pub offset: u64,
    /// The account.
    pub key: AccountKey,
    /// Number of the account's active streams after that entry.
    pub count: u32,
    /// The event.
    pub event: LifecycleEvent,
}

/// The kind of a lifecycle event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LifecycleEventKind {
    /// The stream started, or had started by a heartbeat and is admitted now.
    Opened {
        /// Whether an `init` was admitted; false if there were only heartbeats.
        admitted: bool,
        /// Its start.
        started_at: WallTime,
    },
    /// The stream's `init` was refused. Emitted once, even if the request is repeated.
    Refused {
        /// The reason.
        reason: RefusedReason,
        /// The limit in the request.
        max_active: Option<u32>,
    },
    /// The stream was stopped while it was active.
    Stopped {
        /// The reason.
        reason: StoppedReason,
        /// Its start.
        started_at: WallTime,
    },
    /// The stream expired.
    Expired {
        /// Its start.
        started_at: WallTime,
        /// Its last `init` or heartbeat.
        last_seen: WallTime,
        /// Its deadline in log time, which distinguishes repeated expiries of one stream.
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
