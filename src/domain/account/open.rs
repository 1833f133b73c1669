//! Proposals.

use super::{Account, lifecycle_events::StopDetails};
use crate::domain::{
    LifecycleEvent, LifecycleEventKind, Moment, Open, RefusedReason, StopCause, StoppedReason,
    StreamId,
};

/// The outcome of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenOutcome {
    /// The stream is active now, or was already.
    Opened {
        /// The active streams that it ended.
        replaced: Vec<StreamId>,
    },
    /// The stream was refused. No other stream changed.
    Refused {
        /// The reason.
        reason: RefusedReason,
        /// Whether the request had been refused before.
        is_remembered: bool,
    },
    /// The proposal had expired. Nothing changed.
    Late,
}

impl Account {
    /// Decides a proposal. Appends the resulting lifecycle events to `events`.
    pub fn open(
        &mut self,
        moment: &Moment,
        open: &Open,
        events: &mut Vec<LifecycleEvent>,
    ) -> OpenOutcome {
        if moment.now > open.not_after {
            return OpenOutcome::Late;
        }
        self.sweep(moment.now);
        if let Some(refusal) = self.stored_refusal(open.request, moment.now) {
            return OpenOutcome::Refused {
                reason: refusal.reason,
                is_remembered: true,
            };
        }
        self.end_all_too_old(moment, events);
        let ended = match self.admit(moment, open) {
            Ok(ended) => ended,
            Err(reason) => {
                self.store_refusal(open.request, reason, moment);
                events.push(LifecycleEvent::of_refused(moment, open, reason));
                return OpenOutcome::Refused {
                    reason,
                    is_remembered: false,
                };
            }
        };
        let first = events.len();
        self.replace(moment, open, &ended, events);
        let replaced = events[first..].iter().filter(|event| event.kind.is_stop());
        let replaced = replaced.map(|event| event.stream).collect();
        match self.active_mut(open.stream, moment.now) {
            Some(stream) => {
                if !open.metadata.is_empty() {
                    stream.metadata = open.metadata.clone();
                }
                if stream.touch(moment) {
                    events.push(LifecycleEvent::of_admitted(moment, stream));
                }
            }
            None => self.start(moment, open.stream, true, open.metadata.clone(), events),
        }
        OpenOutcome::Opened { replaced }
    }

    /// Ends the streams that a request names, and `further` ones.
    fn replace(
        &mut self,
        moment: &Moment,
        open: &Open,
        further: &[StreamId],
        events: &mut Vec<LifecycleEvent>,
    ) {
        if open.replace.is_empty() && further.is_empty() {
            return;
        }
        let states_causes = moment.settings.rules().state_causes();
        let terms = open.terms.as_deref();
        let details = StopDetails {
            cause: StopCause {
                reason: StoppedReason::Replaced,
                given: terms.and_then(|terms| terms.reason.clone()),
            },
            successor: states_causes.then_some(open.stream),
            reserved: usize::from(self.active(open.stream, moment.now).is_none()),
        };
        for id in open.replace.iter().chain(further) {
            self.end(moment, *id, &details, events);
        }
    }
}

impl LifecycleEventKind {
    const fn is_stop(&self) -> bool {
        matches!(self, Self::Stopped { .. })
    }
}
