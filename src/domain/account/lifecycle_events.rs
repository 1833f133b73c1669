//! The lifecycle events of an account's streams.

use super::StreamRecord;
use crate::domain::{
    ExpiryCause, LifecycleEvent, LifecycleEventKind, LogTime, Moment, Open, RefusedReason,
    StopCause, StreamId, WallShift,
};

/// The end of streams by a stop or another stream.
pub(super) struct StopDetails {
    pub(super) cause: StopCause,
    pub(super) successor: Option<StreamId>,
    /// Number of tombstones to keep free for a stream that is about to start.
    pub(super) reserved: usize,
}

impl LifecycleEvent {
    pub(super) fn of_opened(moment: &Moment, stream: &StreamRecord) -> Self {
        let kind = LifecycleEventKind::Opened {
            admitted: stream.ttl_and_admission.is_admitted(),
            started_at: stream.started_at,
        };
        Self::of(stream, moment.now, moment.shift, kind)
    }

    /// The event of a stream that had started by a heartbeat and is admitted now.
    pub(super) fn of_admitted(moment: &Moment, stream: &StreamRecord) -> Self {
        if !moment.settings.rules().open_once() {
            return Self::of_opened(moment, stream);
        }
        let kind = LifecycleEventKind::Admitted {
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
        details: &StopDetails,
    ) -> Self {
        let kind = LifecycleEventKind::Stopped {
            reason: details.cause.reason,
            started_at: stream.started_at,
            successor: details.successor,
            given: details.cause.given.clone(),
        };
        Self::of(stream, moment.now, moment.shift, kind)
    }

    pub(super) fn of_expired(
        now: LogTime,
        shift: WallShift,
        stream: &StreamRecord,
        cause: ExpiryCause,
    ) -> Self {
        let kind = LifecycleEventKind::Expired {
            started_at: stream.started_at,
            last_seen: shift.show(stream.last_seen).max(stream.started_at),
            cause,
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
