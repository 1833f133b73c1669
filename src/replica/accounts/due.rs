//! When accounts change by time alone: the log's time, which no clock of a cache follows.

use std::collections::BTreeMap;

use super::slots::SlotId;
use crate::domain::LogTime;

/// Accounts that are not due at all are due then.
pub(super) const NEVER: LogTime = LogTime(u64::MAX);

/// Each account has one valid entry, at or before its next change. A heartbeat that postpones the
/// change leaves the entry, which is checked again at that moment. Other entries are ignored then,
/// because the slot has a different moment or none.
#[derive(Debug)]
pub(super) struct Due {
    moments: BTreeMap<LogTime, Vec<SlotId>>,
    /// The moment under which accounts were last put in.
    last: LogTime,
}

impl Due {
    pub(super) const fn new() -> Self {
        Self {
            moments: BTreeMap::new(),
            last: NEVER,
        }
    }

    /// The account in this slot is due at a moment.
    pub(super) fn put(&mut self, id: SlotId, at: LogTime) {
        self.last = at;
        self.moments.entry(at).or_default().push(id);
    }

    /// Is anything due until `now`?
    pub(super) fn is_due(&self, now: LogTime) -> bool {
        self.moments.keys().next().is_some_and(|at| *at <= now)
    }

    /// Takes out one that is due until `now`, of the first moment. Of one moment the last comes
    /// first: few of those to come are then moved into another's place.
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

    /// Most of what is due at one moment comes at one moment, and that is over: what is put here
    /// later, for accounts that moved, is little.
    pub(super) fn fit_last(&mut self) {
        if let Some(ids) = self.moments.get_mut(&self.last) {
            ids.shrink_to_fit();
        }
    }

    pub(super) fn fit(&mut self) {
        self.moments.values_mut().for_each(Vec::shrink_to_fit);
    }

    /// Forgets the moments under which an account is not due any more. Once the TTL has become
    /// shorter that can be all of them, until the longer one would have been over.
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
