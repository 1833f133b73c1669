//! The result of an entry on a replica, to compare replicas with.

use crate::batches::is_here;
use streamwatch::{
    domain::{Account, AccountKey, Counters, Entry, Internal, InternalEntry},
    replica::{Applied, Replica},
};

/// The number of entries per comparison of all accounts.
const ALL_EVERY: u64 = 32;

/// The result of an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The true time at which the log stored it.
    pub at: u64,
    pub log_ms: Option<u64>,
    pub applied: Applied,
    /// The log's counters after it.
    pub counters: Counters,
    /// The accounts of the entry, and their records after it.
    pub accounts: Vec<(AccountKey, Option<Account>)>,
    /// All accounts.
    pub all: Option<Vec<Option<Account>>>,
}

/// The records of an account in a replica, without removable ones.
pub fn held<T>(replica: &Replica<T>, key: &AccountKey) -> Option<Account> {
    let mut account = replica.account(key)?;
    account.sweep(replica.log_time()?);
    (!account.is_empty()).then_some(account)
}

/// The result of the entry at `offset`, the last one that `replica` applied.
pub fn row<T>(
    replica: &Replica<T>,
    at: u64,
    offset: u64,
    entry: &Entry,
    applied: Applied,
    keys: &[AccountKey],
) -> Row {
    Row {
        at,
        log_ms: replica.log_time().map(|l| l.0),
        applied,
        counters: *replica.counters(),
        accounts: keys_of(entry)
            .map(|key| (key.clone(), held(replica, key)))
            .collect(),
        all: offset
            .is_multiple_of(ALL_EVERY)
            .then(|| keys.iter().map(|k| held(replica, k)).collect()),
    }
}

/// The accounts of an entry.
pub fn keys_of(entry: &Entry) -> impl Iterator<Item = &AccountKey> {
    let one = match entry {
        Entry::Player { key, .. } => Some(key),
        Entry::Internal(InternalEntry {
            body: Internal::Open(open),
            ..
        }) => Some(&open.key),
        Entry::Batch(_) | Entry::Internal(_) => None,
    };
    let batch = match entry {
        Entry::Batch(batch) if is_here(batch) => Some(batch),
        _ => None,
    };
    let several = batch
        .into_iter()
        .flat_map(|b| b.by_account().map(|(key, _)| key));
    one.into_iter().chain(several)
}
