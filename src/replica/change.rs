//! Changes of one account by an entry.

use super::Applied;
use crate::domain::{
    Account, LifecycleEvent, MetadataOutcome, Moment, Open, PlayerEvent, StreamId,
};

/// A change of one account.
#[derive(Clone, Copy)]
pub(crate) enum Change<'e> {
    Player(&'e PlayerEvent),
    Open(&'e Open),
}

impl Change<'_> {
    /// The first field that rules version 1 does not accept.
    fn field_of_rules_2(&self) -> Option<&'static str> {
        match self {
            Self::Player(event) => event.field_of_rules_2(),
            Self::Open(open) => open.field_of_rules_2(),
        }
    }

    /// Whether it is a stop whose reason is ignored.
    pub(super) fn ignores_reason(&self, applied: &Applied) -> bool {
        let applies = matches!(applied, Applied::Stop(_));
        applies && matches!(self, Self::Player(event) if event.ignores_reason())
    }

    /// The stream whose metadata it has set, if any.
    pub(super) fn has_set_metadata(&self, applied: &Applied) -> Option<StreamId> {
        match (self, applied) {
            (Self::Player(PlayerEvent::Heartbeat(heartbeat)), Applied::Heartbeat(outcome)) => {
                let is_changed = outcome.metadata() == MetadataOutcome::Changed;
                is_changed.then_some(heartbeat.stream)
            }
            (Self::Open(open), Applied::Open(_)) => {
                (!open.metadata.is_empty()).then_some(open.stream)
            }
            _ => None,
        }
    }

    /// Applies it to its account. Appends the resulting lifecycle events to `events`.
    pub(super) fn apply(
        &self,
        account: &mut Account,
        moment: &Moment,
        events: &mut Vec<LifecycleEvent>,
    ) -> Applied {
        if let Some(field) = self.field_of_rules_2()
            && !moment.settings.rules().accept(Some(field))
        {
            return Applied::OldRules(field);
        }
        match *self {
            Self::Player(PlayerEvent::Heartbeat(heartbeat)) => {
                Applied::Heartbeat(account.heartbeat(moment, heartbeat, events))
            }
            Self::Player(PlayerEvent::Stop(stop)) => {
                Applied::Stop(account.stop(moment, stop, events))
            }
            Self::Open(open) => Applied::Open(account.open(moment, open, events)),
        }
    }
}
