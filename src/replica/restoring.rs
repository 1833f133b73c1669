//! A snapshot that is being read, part by part.

use super::{Fault, accounts::Accounts};
use crate::domain::{Account, AccountKey, Announcement, Rules, SnapshotHeader};

/// A snapshot that is being read.
#[derive(Debug)]
pub struct Restoring {
    pub(super) header: SnapshotHeader,
    pub(super) accounts: Accounts,
    pub(super) unannounced: Vec<Announcement>,
}

impl Restoring {
    /// Starts with the header.
    ///
    /// # Errors
    /// [`Fault::UnknownRules`] if the snapshot has an unsupported version of the rules.
    pub fn new(header: SnapshotHeader) -> Result<Self, Fault> {
        if Rules::of(header.settings.rules).is_none() {
            return Err(Fault::UnknownRules(header.settings.rules));
        }
        let mut accounts = Accounts::default();
        accounts.count_by(&header.settings.count_by);
        Ok(Self {
            header,
            accounts,
            unannounced: Vec::new(),
        })
    }

    /// Adds an account, with the offset of its last entry. Returns false if the account is a
    /// duplicate, which no replica writes.
    #[must_use]
    pub fn account(&mut self, key: AccountKey, last: u64, account: Account) -> bool {
        self.accounts.restore(key, last, account, self.header.now)
    }

    /// Adds the next buffered lifecycle events.
    pub fn unannounced(&mut self, announcements: impl IntoIterator<Item = Announcement>) {
        self.unannounced.extend(announcements);
    }

    /// The header of the snapshot.
    #[must_use]
    pub const fn header(&self) -> &SnapshotHeader {
        &self.header
    }
}
