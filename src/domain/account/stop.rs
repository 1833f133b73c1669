//! Ends of streams by stops, other streams, and their age.

use super::{Account, Tombstone, lifecycle_events::StopDetails};
use crate::domain::{
    ExpiryCause, LifecycleEvent, Moment, Stop, StopCause, StopTarget, StoppedReason, StreamId,
};

/// The outcome of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// The stream, or any of the account's, was active.
    Ended,
    /// The stream was not active. A later `init` of it is refused.
    Tombstoned,
    /// The stream was stopped before, its tombstone would exceed a limit, or no stream of the
    /// account was active.
    Unchanged,
}

impl Account {
    /// Applies a stop. Appends the resulting lifecycle events to `events`.
    pub fn stop(
        &mut self,
        moment: &Moment,
        stop: &Stop,
        events: &mut Vec<LifecycleEvent>,
    ) -> StopOutcome {
        let states_causes = moment.settings.rules().state_causes();
        let given = stop.reason.clone().and_then(Result::ok);
        let details = StopDetails {
            cause: StopCause {
                reason: StoppedReason::Stopped,
                given: given.filter(|_| states_causes),
            },
            successor: None,
            reserved: 0,
        };
        match stop.target {
            StopTarget::One(id) => self.end(moment, id, &details, events),
            StopTarget::All => self.end_all(moment, &details, events),
        }
    }

    fn end_all(
        &mut self,
        moment: &Moment,
        details: &StopDetails,
        events: &mut Vec<LifecycleEvent>,
    ) -> StopOutcome {
        let active: Vec<StreamId> = self.all_active(moment.now).map(|s| s.id).collect();
        for id in &active {
            self.end(moment, *id, details, events);
        }
        if active.is_empty() {
            StopOutcome::Unchanged
        } else {
            StopOutcome::Ended
        }
    }

    /// Ends a stream. The end of an inactive one is stored if there is room for it.
    pub(super) fn end(
        &mut self,
        moment: &Moment,
        id: StreamId,
        details: &StopDetails,
        events: &mut Vec<LifecycleEvent>,
    ) -> StopOutcome {
        let now = moment.now;
        if self.tombstone(id, now).is_some() {
            return StopOutcome::Unchanged;
        }
        let sent_ms = match self.active(id, now) {
            Some(stream) => {
                events.push(LifecycleEvent::of_stopped(moment, stream, details));
                Some(stream.ttl_and_admission.ttl_ms())
            }
            // An `init` of the stream would be refused too.
            None if moment.full || self.room(moment) <= details.reserved => {
                return StopOutcome::Unchanged;
            }
            None => None,
        };
        self.replace_by_tombstone(moment, id, details.cause.clone(), sent_ms);
        match sent_ms {
            Some(_) => StopOutcome::Ended,
            None => StopOutcome::Tombstoned,
        }
    }

    /// Ends an active stream that is too old. Returns the cause for its player.
    pub(super) fn end_too_old(
        &mut self,
        moment: &Moment,
        id: StreamId,
        events: &mut Vec<LifecycleEvent>,
    ) -> StopCause {
        let cause = StopCause::from(StoppedReason::TooOld);
        if let Some(stream) = self.active(id, moment.now) {
            let (now, shift, expiry) = (moment.now, moment.shift, ExpiryCause::TooOld);
            events.push(LifecycleEvent::of_expired(now, shift, stream, expiry));
            let sent_ms = Some(stream.ttl_and_admission.ttl_ms());
            self.replace_by_tombstone(moment, id, cause.clone(), sent_ms);
        }
        cause
    }

    pub(super) fn end_all_too_old(&mut self, moment: &Moment, events: &mut Vec<LifecycleEvent>) {
        if moment.settings.max_age_ms().is_none() {
            return;
        }
        let active = self.all_active(moment.now);
        let too_old: Vec<StreamId> = active
            .filter(|s| s.is_too_old(moment))
            .map(|s| s.id)
            .collect();
        for id in too_old {
            self.end_too_old(moment, id, events);
        }
    }

    fn replace_by_tombstone(
        &mut self,
        moment: &Moment,
        id: StreamId,
        cause: StopCause,
        sent_ms: Option<u32>,
    ) {
        self.sweep(moment.now);
        self.streams.retain(|s| s.id != id);
        self.insert_tombstone(Tombstone::new(moment, id, cause, sent_ms));
    }
}
