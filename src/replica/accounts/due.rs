//! When accounts change by time alone. moka's clock is not the log's, so what time ends is found
//! here.

use std::collections::BTreeMap;

use super::table::{Place, Slot};
use crate::domain::LogTime;

/// Accounts that are not due at all are due then.
pub(super) const NEVER: LogTime = LogTime(u64::MAX);

/// Each account counts here once, at or before its next change; a heartbeat that moves the change
/// back leaves it where it is, to be looked at again when that moment comes. What is here besides,
/// and whose slot names another moment or none, is passed over then.
#[derive(Debug)]
pub(super) struct Due {
    moments: BTreeMap<LogTime, Vec<Place>>,
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

    /// The account changes at `next`.
    pub(super) fn put(&mut self, place: &Place, slot: &mut Slot, next: LogTime) {
        if next < slot.due {
            slot.due = next;
            self.last = next;
            self.moments.entry(next).or_default().push(place.clone());
        }
    }

    /// Takes out what is due at the first moment until `now`.
    pub(super) fn take(&mut self, now: LogTime) -> Option<(LogTime, Vec<Place>)> {
        let first = self.moments.first_entry()?;
        (*first.key() <= now).then(|| first.remove_entry())
    }

    /// Most of what is due at one moment comes at one moment, and that is over.
    pub(super) fn fit_last(&mut self) {
        if let Some(places) = self.moments.get_mut(&self.last) {
            places.shrink_to_fit();
        }
    }

    pub(super) fn fit(&mut self) {
        self.moments.values_mut().for_each(Vec::shrink_to_fit);
    }

    /// Forgets the moments under which an account is not due any more. Once the TTL has become
    /// shorter that can be all of them, until the longer one would have been over.
    pub(super) fn forget(&mut self) {
        self.moments.retain(|at, places| {
            places.retain(|place| place.lock().due == *at);
            places.shrink_to_fit();
            !places.is_empty()
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.moments.values().map(Vec::len).sum()
    }
}
