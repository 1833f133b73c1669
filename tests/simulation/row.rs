//! The result of an entry on a replica, to compare replicas with.

use streamwatch::{
    domain::{Account, AccountKey, Counters, Entry, Internal},
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
    /// The account of the entry, and its records after it.
    pub account: Option<(AccountKey, Option<Account>)>,
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
        account: key_of(entry).map(|key| (key.clone(), held(replica, key))),
        all: offset
            .is_multiple_of(ALL_EVERY)
            .then(|| keys.iter().map(|k| held(replica, k)).collect()),
    }
}

pub fn key_of(entry: &Entry) -> Option<&AccountKey> {
    match entry {
        Entry::Heartbeat { key, .. } | Entry::Stop { key, .. } => Some(key),
        Entry::Internal { body, .. } => match body {
            Internal::Open(open) => Some(&open.key),
            _ => None,
        },
    }
}
