//! Accounts ordered by the log time of their next change.

use std::collections::BTreeMap;

use super::slots::SlotId;
use crate::domain::LogTime;

/// Lists each account's slot under one valid moment, at or before the account's next change. A
/// heartbeat that postpones the change does not move the slot: the account is checked again at the
/// listed moment. A slot that is listed under any other moment is ignored there.
#[derive(Debug, Default)]
pub(super) struct Due {
    moments: BTreeMap<LogTime, Vec<SlotId>>,
    /// The moment of the latest insertion.
    last: LogTime,
}

impl Due {
    /// Makes the account in this slot due at a moment.
    pub(super) fn put(&mut self, id: SlotId, at: LogTime) {
        self.last = at;
        self.moments.entry(at).or_default().push(id);
    }

    pub(super) fn is_due(&self, now: LogTime) -> bool {
        self.moments.keys().next().is_some_and(|at| *at <= now)
    }

    /// Removes and returns an account of the earliest moment up to `now`. The last one inserted is
    /// returned first, so that its removal moves few slots of the others.
    pub(super) fn pop(&mut self, now: LogTime) -> Option<(LogTime, SlotId)> {
        loop {
            let mut first = self.moments.first_entry()?;
            let at = *first.key();
            if at > now {
                return None;
            }
            match first.get_mut().pop() {
                Some(id) => return Some((at, id)),
                None => drop(first.remove()),
            }
        }
    }

    /// Frees unused memory of the moment of the latest insertion, when log time has advanced: from
    /// then on, few accounts are inserted there.
    pub(super) fn fit_last(&mut self) {
        if let Some(ids) = self.moments.get_mut(&self.last) {
            ids.shrink_to_fit();
        }
    }

    pub(super) fn fit(&mut self) {
        self.moments.values_mut().for_each(Vec::shrink_to_fit);
    }

    /// Removes slots that are listed under an outdated moment. After the TTL was shortened, these
    /// can be all slots until the longer TTL is over.
    pub(super) fn forget(&mut self, due_at: impl Fn(SlotId) -> Option<LogTime>) {
        self.moments.retain(|at, ids| {
            ids.retain(|id| due_at(*id) == Some(*at));
            ids.shrink_to_fit();
            !ids.is_empty()
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.moments.values().map(Vec::len).sum()
    }
}
