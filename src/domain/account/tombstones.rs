//! Room for tombstones: why a stopped stream stays stopped.
//!
//! Let T be the tombstones that stand, A the active streams and C the account's cap,
//! `max_tombstones_per_account`. Each active stream has the room for its own tombstone reserved:
//!
//! - a stream begins only if T + A < C: T + A grows by one, up to C;
//! - a stop of an active stream turns it into a tombstone: T + A stays, so there is always room;
//! - a stop of a stream that is not active makes a tombstone only if T + A < C, else it changes
//!   nothing;
//! - time lets streams and tombstones lapse: T + A falls.
//!
//! So T + A never exceeds the highest cap there was since those records were created, and no
//! tombstone is ever evicted. Where the cap was lowered below T + A, nothing begins until enough
//! has lapsed. Refusals have a bound of their own, and take no room here.

use super::{Account, Moment, Tombstone};
use crate::domain::{LogTime, StreamId};

impl Account {
    /// How many streams may still begin, or be stopped before they began.
    pub(super) fn room(&self, moment: &Moment) -> usize {
        let standing = self.tombstones().iter().filter(|t| t.until > moment.now);
        let taken = standing.count() + self.count(moment.now);
        (moment.settings.max_tombstones_per_account as usize).saturating_sub(taken)
    }

    /// Keeps a tombstone. None of the same stream stands.
    pub(super) fn bury(&mut self, tombstone: Tombstone) {
        let tombstones = &mut self.past.get_or_insert_default().tombstones;
        let place = tombstones.partition_point(|t| t.id < tombstone.id);
        tombstones.insert(place, tombstone);
    }

    /// The tombstone of a stream, if one stands.
    pub(super) fn tombstone(&self, id: StreamId, now: LogTime) -> Option<&Tombstone> {
        let tombstones = self.tombstones();
        let place = tombstones.binary_search_by_key(&id, |t| t.id).ok()?;
        Some(&tombstones[place]).filter(|t| t.until > now)
    }

    pub(super) fn tombstone_mut(&mut self, id: StreamId, now: LogTime) -> Option<&mut Tombstone> {
        let tombstones = &mut self.past.as_deref_mut()?.tombstones;
        let place = tombstones.binary_search_by_key(&id, |t| t.id).ok()?;
        Some(&mut tombstones[place]).filter(|t| t.until > now)
    }
}
