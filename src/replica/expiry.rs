//! Expiry of streams in small steps, because a tick that expires a million streams must not delay
//! answers. Answers compare deadlines, so they are exact in between. Events and counters are the
//! same as in one step, in the same order for each account.

use super::Replica;
use crate::domain::Announcement;

/// Number of accounts whose expiries are processed with each entry. An entry makes fewer accounts
/// due, so the expiries keep up with any log.
pub(super) const EXPIRIES_PER_ENTRY: usize = 32;
/// Number of accounts processed by one call of [`Replica::expire`], in about a millisecond.
const PER_CALL: usize = 512;

impl<T> Replica<T> {
    /// Whether an applied entry has unprocessed expiries.
    #[must_use]
    pub fn is_expiring(&self) -> bool {
        self.accounts.expiring().is_some()
    }

    /// Processes some expiries. Call it again while [`Self::is_expiring`].
    pub fn expire(&mut self) {
        self.expire_some(PER_CALL);
    }

    /// Sets the number of expiries per entry, for simulations.
    pub const fn expire_per_entry(&mut self, accounts: usize) {
        self.expiries_per_entry = accounts;
    }

    pub(super) fn expire_some(&mut self, most: usize) {
        if self.is_expiring() {
            self.accounts.expire(most);
            self.note_expired();
        }
    }

    /// Counts and buffers a lifecycle event.
    pub(super) fn note(&mut self, announcement: Announcement) {
        let offset = announcement.offset;
        self.counters
            .count(offset, |counters| counters.event(&announcement.event));
        self.announcements.add(announcement);
    }

    /// Counts and buffers the lifecycle events of expired streams.
    pub(super) fn note_expired(&mut self) {
        for expired in self.accounts.take_expired() {
            self.note(expired);
        }
        self.announcements.more_to_come(self.accounts.expiring());
        self.announce();
    }
}
