//! Tests of the limits of tenants and accounts together.

use proptest::prelude::*;

use super::*;
use crate::domain::ThrottledKind::{Init, Status};

const MS: Nanos = 1_000_000;

fn throttle(tenant: u32, account: u32) -> Throttle {
    let mut throttle = Throttle::default();
    let limits = Throttling {
        tenant_statuses_per_second: tenant,
        account_statuses_per_second: account,
        ..Throttling::default()
    };
    throttle.set(&limits, Share::ALL);
    throttle
}

/// The number of accepted ones of `requests` at `now`.
fn accepted(it: &mut Throttle, tenant: &str, account: &str, requests: usize, now: Nanos) -> usize {
    let accepts = |it: &mut Throttle| it.check(Status, tenant, Some(account.as_bytes()), now);
    let outcomes = (0..requests).map(|_| accepts(it));
    outcomes.filter(Option::is_none).count()
}

#[test]
fn without_limits_every_request_is_accepted_and_nothing_is_stored() {
    let mut it = Throttle::default();
    assert_eq!(accepted(&mut it, "acme", "alice", 10_000, 0), 10_000);
    assert_eq!(it.kinds[Status as usize].tenants.len(), 0);
    assert_eq!(it.kinds[Status as usize].accounts.len(), 0);
}

#[test]
fn tenants_and_kinds_do_not_share_a_limit() {
    let mut it = throttle(100, 0);
    assert_eq!(accepted(&mut it, "acme", "alice", 500, 0), 100);
    assert_eq!(accepted(&mut it, "acme", "bob", 500, 0), 0);
    assert_eq!(accepted(&mut it, "other", "alice", 500, 0), 100);
    assert_eq!(it.check(Init, "acme", Some(b"alice"), 0), None);
}

#[test]
fn an_account_does_not_use_up_the_limit_of_its_tenant() {
    let mut it = throttle(100, 20);
    assert_eq!(accepted(&mut it, "acme", "alice", 500, 0), 20);
    assert_eq!(accepted(&mut it, "acme", "bob", 500, 0), 20);
    let others = (0..100).map(|n| accepted(&mut it, "acme", &format!("{n}"), 1, 0));
    assert_eq!(others.sum::<usize>(), 60);
    // The account of another tenant is another account.
    assert_eq!(accepted(&mut it, "other", "alice", 500, 0), 20);
}

#[test]
fn a_throttled_request_states_its_limit_and_retry_after() {
    let mut it = throttle(100, 20);
    let yes = |by, retry_after_ms| Some(Throttled { by, retry_after_ms });
    let ask = |it: &mut Throttle, account: &[u8]| it.check(Status, "acme", Some(account), 0);
    accepted(&mut it, "acme", "alice", 20, 0);
    assert_eq!(ask(&mut it, b"alice"), yes(ThrottledBy::Account, Some(50)));
    assert_eq!(ask(&mut it, b"alice"), yes(ThrottledBy::Account, Some(100)));
    for n in 0..80 {
        accepted(&mut it, "acme", &n.to_string(), 1, 0);
    }
    assert_eq!(ask(&mut it, b"bob"), yes(ThrottledBy::Tenant, Some(10)));
    let later = it.check(Status, "acme", Some(b"bob"), 10 * MS);
    assert_eq!(later, None);
    // A flood gets no more replies than the requests of a second.
    let flood: Vec<_> = (0..1_000).map(|_| ask(&mut it, b"carol")).collect();
    let silent = yes(ThrottledBy::Tenant, None);
    assert_eq!(flood.iter().filter(|it| **it == silent).count(), 901);
}

#[test]
fn an_account_that_is_known_only_from_the_body_has_the_same_limit() {
    let mut it = throttle(0, 20);
    let mut ask = |now| {
        assert_eq!(it.check(Status, "acme", None, now), None);
        it.check_account(Status, "acme", b"alice", now)
    };
    assert_eq!((0..50).filter(|_| ask(0).is_none()).count(), 20);
    assert_eq!(ask(50 * MS), None);
    assert_eq!(accepted(&mut it, "acme", "alice", 50, 50 * MS), 0);
}

#[test]
fn beyond_the_maximum_tenants_share_a_limit_and_accounts_have_only_that_of_their_tenant() {
    let mut it = OfKind::new(2, 2);
    let tenant_rate = Rate::per_second(100, Share::ALL);
    it.account_rate = Rate::per_second(20, Share::ALL);
    let mut accepted = |tenant: &str, account: &str| {
        let outcomes = (0..500).map(|_| it.check(tenant_rate, tenant, Some(account.as_bytes()), 0));
        outcomes.filter(Option::is_none).count()
    };
    assert_eq!((accepted("a", "1"), accepted("b", "1")), (20, 20));
    assert_eq!(accepted("a", "2"), 80, "no bucket is left for the account");
    assert_eq!((accepted("c", "1"), accepted("d", "1")), (100, 0));
    assert_eq!((it.tenants.len(), it.accounts.len()), (2, 2));
}

#[test]
fn throttled_requests_take_no_room_from_other_accounts() {
    let mut it = throttle(100, 20);
    for n in 0..10_000 {
        accepted(&mut it, "acme", &n.to_string(), 1, 0);
    }
    assert_eq!(it.kinds[Status as usize].accounts.len(), 100);
}

#[test]
fn new_limits_and_shares_apply_at_once_and_limits_that_are_off_use_no_memory() {
    let mut it = throttle(1_000, 0);
    assert_eq!(accepted(&mut it, "acme", "alice", 1_500, 0), 1_000);
    let limits = Throttling {
        tenant_statuses_per_second: 1_000,
        ..Throttling::default()
    };
    it.set(&limits, Share::of([4].into_iter(), 1));
    let second: usize = (1..=1_000)
        .map(|ms| accepted(&mut it, "acme", "alice", 2, ms * MS))
        .sum();
    assert_eq!(second, 250);
    it.set(&Throttling::default(), Share::ALL);
    assert_eq!(accepted(&mut it, "acme", "alice", 500, 1_000 * MS), 500);
    assert_eq!(it.kinds[Status as usize].tenants.len(), 0);
}

proptest! {
    #[test]
    fn a_tenant_is_never_throttled_below_its_limit_by_the_requests_of_others(
        others in prop::collection::vec((0_u8..5, 0_u8..20, 0..20 * MS), 1..500),
    ) {
        let mut it = throttle(100, 20);
        let mut now = 0;
        let mut asked_at = 0;
        for (tenant, account, gap) in others {
            now += gap;
            it.check(Status, &format!("flood-{tenant}"), Some(&[account]), now);
            // One account with at most 20 requests per second.
            if now - asked_at >= 50 * MS {
                asked_at = now;
                prop_assert_eq!(it.check(Status, "quiet", Some(b"alice"), now), None);
            }
        }
    }

    #[test]
    fn a_request_repeated_after_its_retry_time_is_accepted(
        tenant in 1_u32..500,
        account in 1_u32..500,
        flood in 10_usize..1_000,
    ) {
        let mut it = throttle(tenant, account);
        accepted(&mut it, "acme", "alice", flood, 0);
        if let Some(Throttled { retry_after_ms: Some(ms), .. }) =
            it.check(Status, "acme", Some(b"alice"), 0)
        {
            let later = it.check(Status, "acme", Some(b"alice"), ms * MS);
            prop_assert_eq!(later, None);
        }
    }
}
