//! The accounts in lifecycle events: the latest ones, up to a limit.

use std::{num::NonZeroUsize, time::Duration};

use lru::LruCache;
use uuid::Uuid;

use super::rows::AccountRow;
use crate::{
    domain::{AccountCount, AccountKey, Tenant, WallTime},
    wire::{LifecycleMessage, Rfc3339},
};

/// Most stored accounts. Those without an event for the longest time are evicted first.
const MOST_ACCOUNTS: NonZeroUsize = NonZeroUsize::new(10_000).expect("more than 0");
/// Number of events for deduplication, more than a new leader repeats.
const MOST_REPEATED: NonZeroUsize = MOST_ACCOUNTS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AccountState {
    count: u32,
    /// Incremented by every event.
    version: u64,
    /// True if no event can have been missed since.
    exact: bool,
    checked_at: Duration,
}

/// A request for an account, and the account's version at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatusRequest {
    pub(super) key: AccountKey,
    version: u64,
}

/// Number of events of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct EventCounts {
    pub(super) opened: u64,
    pub(super) refused: u64,
    pub(super) stopped: u64,
    pub(super) expired: u64,
}

/// The accounts with active streams, by lifecycle events.
#[derive(Debug)]
pub(super) struct ObservedAccounts {
    seen: LruCache<AccountKey, AccountState>,
    repeated: LruCache<Uuid, ()>,
    pub(super) counts: EventCounts,
    /// Active accounts that were evicted because there were too many.
    pub(super) evicted: u64,
    version: u64,
    /// Start of the subscription; `None` before it.
    pub(super) since: Option<Rfc3339>,
}

impl Default for ObservedAccounts {
    fn default() -> Self {
        Self {
            seen: LruCache::new(MOST_ACCOUNTS),
            repeated: LruCache::new(MOST_REPEATED),
            counts: EventCounts::default(),
            evicted: 0,
            version: 0,
            since: None,
        }
    }
}

impl ObservedAccounts {
    /// Starts the subscription, or resumes it after a gap in which events may have been missed.
    pub(super) fn subscribed(&mut self, now: WallTime) {
        self.since.get_or_insert(Rfc3339(now));
        for (_, seen) in self.seen.iter_mut() {
            seen.exact = false;
        }
    }

    /// Applies an event. Returns false if it is a repetition or invalid.
    pub(super) fn apply_event(
        &mut self,
        event: &LifecycleMessage<'_>,
        id: Option<&str>,
        at: Duration,
    ) -> bool {
        let id = id.and_then(|id| id.parse::<Uuid>().ok());
        if id.is_some_and(|id| self.repeated.put(id, ()).is_some()) {
            return false;
        }
        let Ok(key) = AccountKey::of(&event.tenant, &event.account) else {
            return false;
        };
        match &*event.kind {
            "opened" => self.counts.opened += 1,
            "refused" => self.counts.refused += 1,
            "stopped" => self.counts.stopped += 1,
            "expired" => self.counts.expired += 1,
            _ => {}
        }
        self.version += 1;
        self.set(key, event.count, at);
        true
    }

    /// Applies the reply to a request, unless a later event has arrived.
    pub(super) fn check(&mut self, request: StatusRequest, count: u32, at: Duration) {
        let now = self.seen.peek(&request.key).map_or(0, |seen| seen.version);
        if now == request.version {
            self.set(request.key, count, at);
        }
    }

    /// Adds listed accounts. A known account keeps its count, which later events may have changed.
    pub(super) fn learn(&mut self, tenant: &Tenant, listed: Vec<AccountCount>, at: Duration) {
        for AccountCount { account, count } in listed {
            let key = AccountKey::new(tenant, &account);
            if self.seen.peek(&key).is_none() {
                self.set(key.clone(), count, at);
                // It may have ended since, so a status request follows.
                if let Some(seen) = self.seen.peek_mut(&key) {
                    seen.exact = false;
                }
            }
        }
    }

    fn set(&mut self, key: AccountKey, count: u32, at: Duration) {
        if count == 0 {
            self.seen.pop(&key);
            return;
        }
        let seen = AccountState {
            count,
            version: self.version,
            exact: true,
            checked_at: at,
        };
        if let Some((lost, _)) = self.seen.push(key.clone(), seen)
            && lost != key
        {
            self.evicted += 1;
        }
    }

    pub(super) fn request(&self, key: &AccountKey) -> StatusRequest {
        StatusRequest {
            version: self.seen.peek(key).map_or(0, |seen| seen.version),
            key: key.clone(),
        }
    }

    /// The next requests: of the `shown` accounts with the most streams, the `most` that were
    /// refreshed longest ago.
    pub(super) fn requests(&self, shown: usize, most: usize) -> Vec<StatusRequest> {
        let mut top = self.ranked(shown);
        top.sort_by_key(|(_, seen)| (seen.exact, seen.checked_at));
        let asked = top.into_iter().take(most);
        asked.map(|(key, _)| self.request(key)).collect()
    }

    /// The accounts with the most streams, ties in order of names.
    pub(super) fn most(&self, n: usize) -> Vec<AccountRow> {
        let top = self.ranked(n).into_iter();
        top.map(|(key, seen)| AccountRow {
            key: key.clone(),
            streams: seen.count,
            exact: seen.exact,
        })
        .collect()
    }

    fn ranked(&self, n: usize) -> Vec<(&AccountKey, &AccountState)> {
        let mut all: Vec<_> = self.seen.iter().collect();
        all.sort_unstable_by(|(a, of_a), (b, of_b)| {
            of_b.count.cmp(&of_a.count).then_with(|| a.cmp(b))
        });
        all.truncate(n);
        all
    }

    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::decode_lifecycle;

    const AT: Duration = Duration::ZERO;

    fn apply(
        accounts: &mut ObservedAccounts,
        kind: &str,
        account: &str,
        count: u32,
        id: u128,
    ) -> bool {
        let body = format!(
            r#"{{"type":"{kind}","tenant":"acme","account":"{account}","count":{count},
            "at":"2026-11-22T10:00:04.120Z","stream":"0192f0c1-7a52-7b1e-9d7e-0a4ce5b2a111"}}"#
        );
        let event = decode_lifecycle(body.as_bytes()).unwrap();
        accounts.apply_event(&event, Some(&Uuid::from_u128(id).to_string()), AT)
    }

    fn most(accounts: &ObservedAccounts) -> Vec<(String, u32, bool)> {
        let most = accounts.most(9).into_iter();
        most.map(|it| (it.key.account().to_owned(), it.streams, it.exact))
            .collect()
    }

    fn is(account: &str, count: u32, exact: bool) -> (String, u32, bool) {
        (account.to_owned(), count, exact)
    }

    fn key(account: &str) -> AccountKey {
        AccountKey::of("acme", account).unwrap()
    }

    #[test]
    fn accounts_are_listed_by_number_of_streams() {
        let mut accounts = ObservedAccounts::default();
        apply(&mut accounts, "opened", "bob", 1, 1);
        apply(&mut accounts, "opened", "alice", 1, 2);
        apply(&mut accounts, "opened", "carol", 2, 3);
        apply(&mut accounts, "refused", "dave", 3, 4);
        apply(&mut accounts, "stopped", "bob", 0, 5);
        let expected = [
            is("dave", 3, true),
            is("carol", 2, true),
            is("alice", 1, true),
        ];
        assert_eq!(most(&accounts), expected);
        let counts = EventCounts {
            opened: 3,
            refused: 1,
            stopped: 1,
            expired: 0,
        };
        assert_eq!(accounts.counts, counts);
    }

    #[test]
    fn a_repeated_event_changes_nothing() {
        let mut accounts = ObservedAccounts::default();
        assert!(apply(&mut accounts, "opened", "alice", 1, 1));
        assert!(apply(&mut accounts, "opened", "alice", 2, 2));
        assert!(!apply(&mut accounts, "opened", "alice", 1, 1));
        assert_eq!(most(&accounts), [is("alice", 2, true)]);
        assert_eq!(accounts.counts.opened, 2);
    }

    #[test]
    fn the_least_recent_of_too_many_accounts_is_evicted() {
        let mut accounts = ObservedAccounts::default();
        accounts.seen.resize(NonZeroUsize::new(2).unwrap());
        apply(&mut accounts, "opened", "alice", 1, 1);
        apply(&mut accounts, "opened", "bob", 1, 2);
        apply(&mut accounts, "opened", "alice", 2, 3);
        apply(&mut accounts, "opened", "carol", 1, 4);
        assert_eq!(
            most(&accounts),
            [is("alice", 2, true), is("carol", 1, true)]
        );
        assert_eq!(accounts.evicted, 1);
    }

    #[test]
    fn a_reply_is_applied_unless_a_later_event_has_arrived() {
        let mut accounts = ObservedAccounts::default();
        apply(&mut accounts, "opened", "alice", 1, 1);
        let early = accounts.request(&key("alice"));
        apply(&mut accounts, "opened", "alice", 2, 2);
        accounts.check(early, 1, AT);
        assert_eq!(most(&accounts), [is("alice", 2, true)]);
        let late = accounts.request(&key("alice"));
        accounts.check(late, 5, AT);
        assert_eq!(most(&accounts), [is("alice", 5, true)]);
        // An account without an event so far, which has started meanwhile.
        let unknown = accounts.request(&key("bob"));
        apply(&mut accounts, "opened", "bob", 1, 3);
        accounts.check(unknown, 0, AT);
        assert!(most(&accounts).contains(&is("bob", 1, true)));
    }

    #[test]
    fn after_a_gap_an_account_is_uncertain_until_its_status_arrives() {
        let mut accounts = ObservedAccounts::default();
        accounts.subscribed(WallTime(7));
        for (n, account) in ["alice", "bob", "carol"].into_iter().enumerate() {
            let n = u32::try_from(n).unwrap();
            apply(&mut accounts, "opened", account, 9 - n, n.into());
        }
        accounts.subscribed(WallTime(8));
        assert_eq!(accounts.since, Some(Rfc3339(WallTime(7))));
        apply(&mut accounts, "opened", "alice", 10, 7);
        let expected = [
            is("alice", 10, true),
            is("bob", 8, false),
            is("carol", 7, false),
        ];
        assert_eq!(most(&accounts), expected);
        // The listed accounts, uncertain ones first.
        let asked = accounts.requests(2, 1);
        assert_eq!(asked[0].key, key("bob"));
        accounts.check(asked[0].clone(), 0, AT);
        assert_eq!(
            most(&accounts),
            [is("alice", 10, true), is("carol", 7, false)]
        );
    }
}
