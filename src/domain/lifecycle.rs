//! Lifecycle events of streams.

use serde::{Deserialize, Serialize};

use super::{
    AccountKey, GivenReason, LogTime, Metadata, RefusedReason, Rules, StoppedReason, StreamId,
    WallTime,
};

/// A change of one stream, caused by one entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifecycleEventKind {
    /// The stream started. Rules version 1 also emits it instead of `Admitted`.
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
        /// The stream that replaced it.
        successor: Option<StreamId>,
        /// The reason that the sender of the `stop` or of the replacing `init` gave.
        given: Option<GivenReason>,
    },
    /// The stream expired.
    Expired {
        /// Its start.
        started_at: WallTime,
        /// Its last `init` or heartbeat.
        last_seen: WallTime,
        /// The cause.
        cause: ExpiryCause,
    },
    /// An `init` was admitted for a stream that a heartbeat had started.
    Admitted {
        /// Its start.
        started_at: WallTime,
    },
}

/// The cause of an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExpiryCause {
    /// The stream was older than a stream may be.
    TooOld,
    /// No sign of life up to this deadline in log time, which distinguishes repeated expiries of
    /// one stream.
    Deadline(LogTime),
}

impl Announcement {
    /// Removes the events of one account by the entry at `offset`, after which it has `active`
    /// streams, and returns their announcements.
    pub fn of_events(
        offset: u64,
        key: &AccountKey,
        rules: Rules,
        events: &mut Vec<LifecycleEvent>,
        active: usize,
    ) -> impl Iterator<Item = Self> {
        let counts_each = rules.count_each_event();
        let mut count = u32::try_from(active).unwrap_or(u32::MAX);
        if counts_each {
            let change: i32 = events.iter().map(|event| event.kind.change()).sum();
            count = count.saturating_add_signed(-change);
        }
        events.drain(..).map(move |event| {
            if counts_each {
                count = count.saturating_add_signed(event.kind.change());
            }
            Self {
                offset,
                key: key.clone(),
                count,
                event,
            }
        })
    }
}

impl LifecycleEventKind {
    /// The change of the number of active streams.
    const fn change(&self) -> i32 {
        match self {
            Self::Opened { .. } => 1,
            Self::Admitted { .. } | Self::Refused { .. } => 0,
            Self::Stopped { .. } | Self::Expired { .. } => -1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> [LifecycleEvent; 4] {
        let started_at = WallTime(0);
        let opened = LifecycleEventKind::Opened {
            admitted: true,
            started_at,
        };
        let stopped = LifecycleEventKind::Stopped {
            reason: StoppedReason::Replaced,
            started_at,
            successor: None,
            given: None,
        };
        let admitted = LifecycleEventKind::Admitted { started_at };
        let event = |kind| LifecycleEvent {
            stream: StreamId::generate(),
            at: started_at,
            kind,
            metadata: Metadata::default(),
        };
        [stopped.clone(), stopped, opened, admitted].map(event)
    }

    #[test]
    fn each_event_has_the_count_of_opened_minus_ended_streams_so_far() {
        let counts = |rules, after| {
            let (key, mut events) = (AccountKey::of("acme", "alice").unwrap(), events().into());
            let announcements = Announcement::of_events(7, &key, rules, &mut events, after);
            announcements.map(|it| it.count).collect::<Vec<_>>()
        };
        assert_eq!(counts(Rules::V2, 3), [3, 2, 3, 3]);
        assert_eq!(counts(Rules::V1, 3), [3, 3, 3, 3]);
    }
}
