//! Changes of one account by an entry.

use super::Applied;
use crate::domain::{
    Account, BatchEvent, BatchEventKind, LifecycleEvent, Metadata, Moment, Open, StreamId,
};

/// A change of one account.
#[derive(Clone, Copy)]
pub(super) enum Change<'e> {
    Heartbeat {
        stream: StreamId,
        every_ms: Option<u32>,
        metadata: Option<&'e Metadata>,
    },
    Stop {
        stream: StreamId,
    },
    Open(&'e Open),
}

impl<'e> Change<'e> {
    pub(super) const fn of_event(event: &'e BatchEvent) -> Self {
        let stream = event.stream;
        match &event.kind {
            BatchEventKind::Heartbeat { every_ms, metadata } => Self::Heartbeat {
                stream,
                every_ms: *every_ms,
                metadata: metadata.as_ref(),
            },
            BatchEventKind::Stop => Self::Stop { stream },
        }
    }

    /// The metadata of the entry.
    pub(super) const fn metadata(&self) -> Option<&'e Metadata> {
        match self {
            Self::Heartbeat { metadata, .. } => *metadata,
            Self::Stop { .. } => None,
            Self::Open(open) => Some(&open.metadata),
        }
    }

    /// Applies it to its account. Appends the resulting lifecycle events to `events`.
    pub(super) fn apply(
        &self,
        account: &mut Account,
        moment: &Moment,
        events: &mut Vec<LifecycleEvent>,
    ) -> Applied {
        match *self {
            Self::Heartbeat {
                stream,
                every_ms,
                metadata,
            } => Applied::Heartbeat(account.heartbeat(moment, stream, every_ms, metadata, events)),
            Self::Stop { stream } => Applied::Stop(account.stop(moment, stream, events)),
            Self::Open(open) => Applied::Open(account.open(moment, open, events)),
        }
    }
}
