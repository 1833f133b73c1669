//! The bound on tombstones, which keeps every stopped stream stopped.
//!
//! Let T be the number of tombstones, A the number of active streams and C the account's cap,
//! `max_tombstones_per_account`. The place of its later tombstone is reserved for each active
//! stream:
//!
//! - a stream starts only if T + A < C: T + A grows by one, up to C;
//! - a stop of an active stream turns it into a tombstone: T + A stays, so a stop never fails;
//! - a stop of an inactive stream creates a tombstone only if T + A < C, else it changes nothing;
//! - streams and tombstones expire: T + A falls.
//!
//! So T + A never exceeds the highest cap since those records were created, and no tombstone is
//! ever evicted. After the cap was lowered below T + A, no stream starts until enough records
//! have expired. Refusals have a separate bound.

use super::{Account, Moment, Tombstone};
use crate::domain::{LogTime, StreamId};

impl Account {
    /// Number of streams that may still start, or be stopped before they have started.
    pub(super) fn room(&self, moment: &Moment) -> usize {
        let standing = self.tombstones().iter().filter(|t| t.until > moment.now);
        let taken = standing.count() + self.count(moment.now);
        (moment.settings.max_tombstones_per_account as usize).saturating_sub(taken)
    }

    /// The moment from which one more stream may start, once enough tombstones have expired. `None` if
    /// there is room now, or if the active streams alone leave none.
    pub(super) fn room_at(&self, moment: &Moment) -> Option<LogTime> {
        let cap = moment.settings.max_tombstones_per_account as usize;
        let tombstones = self.tombstones().iter().map(|t| t.until);
        let mut standing: Vec<_> = tombstones.filter(|until| *until > moment.now).collect();
        let too_many = (standing.len() + self.count(moment.now) + 1).saturating_sub(cap);
        let last = too_many.checked_sub(1)?;
        (last < standing.len()).then(|| *standing.select_nth_unstable(last).1)
    }

    /// Inserts a tombstone of a stream that has none.
    pub(super) fn insert_tombstone(&mut self, tombstone: Tombstone) {
        let tombstones = &mut self.ended.get_or_insert_default().tombstones;
        let place = tombstones.partition_point(|t| t.id < tombstone.id);
        tombstones.insert(place, tombstone);
    }

    /// The tombstone of a stream, if it has not expired.
    pub(super) fn tombstone(&self, id: StreamId, now: LogTime) -> Option<&Tombstone> {
        let tombstones = self.tombstones();
        let place = tombstones.binary_search_by_key(&id, |t| t.id).ok()?;
        Some(&tombstones[place]).filter(|t| t.until > now)
    }

    pub(super) fn tombstone_mut(&mut self, id: StreamId, now: LogTime) -> Option<&mut Tombstone> {
        let tombstones = &mut self.ended.as_deref_mut()?.tombstones;
        let place = tombstones.binary_search_by_key(&id, |t| t.id).ok()?;
        Some(&mut tombstones[place]).filter(|t| t.until > now)
    }
}
