//! Requests about a tenant, and the counts by metadata values.

mod properties;

use std::collections::BTreeMap;

use super::*;
use crate::domain::{
    AccountsPage, AccountsRequest, Stop, StopTarget, TenantAnswer, TenantRequest, TenantTotals,
    TotalsRequest, ValueCounts,
};

fn counting(keys: &[&str]) -> Settings {
    Settings {
        count_by: keys.iter().map(|&key| key.to_owned()).collect(),
        ..settings()
    }
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    Metadata::new(&mut pairs.to_vec()).unwrap()
}

fn playing(account: &str, n: u128, pairs: &[(&str, &str)]) -> Entry {
    Entry::Player {
        key: key(account),
        event: PlayerEvent::Heartbeat(Heartbeat {
            metadata: Some(metadata(pairs).into()),
            ..Heartbeat::of(id(n))
        }),
    }
}

fn stop(account: &str, target: StopTarget) -> Entry {
    Entry::Player {
        key: key(account),
        event: PlayerEvent::Stop(Stop {
            target,
            reason: None,
        }),
    }
}

fn tenant() -> Tenant {
    Tenant::new("acme").unwrap()
}

fn accounts(min_active: u32, after: Option<&str>, limit: u16) -> TenantRequest {
    TenantRequest::Accounts(AccountsRequest {
        tenant: tenant(),
        min_active,
        after: after.map(|account| AccountId::new(account).unwrap()),
        limit,
    })
}

fn totals(group_by: &[&str]) -> TenantRequest {
    TenantRequest::Totals(TotalsRequest {
        tenant: tenant(),
        group_by: group_by.iter().map(|&key| key.to_owned()).collect(),
    })
}

impl Rig {
    fn scan(&mut self, now: u64) {
        while self.replica.is_scanning() {
            self.replica.scan(at(now));
        }
    }

    /// The effects that concern requests.
    fn requested(&mut self) -> Vec<Effect<&'static str>> {
        let mut effects = self.effects();
        effects.retain(|it| !matches!(it, Effect::Announce { .. } | Effect::Append(_)));
        effects
    }

    /// The answers to requests about a tenant.
    fn tenant_answers(&mut self) -> Vec<(&'static str, TenantAnswer)> {
        let answers = self.requested().into_iter().map(|effect| match effect {
            Effect::AnswerTenant { request, answer } => (request, answer),
            other => panic!("not an answer about a tenant: {other:?}"),
        });
        answers.collect()
    }

    fn page(&mut self, request: TenantRequest, now: u64) -> AccountsPage {
        self.replica.about_tenant("page", request, at(now));
        self.scan(now);
        match self.tenant_answers().pop() {
            Some(("page", TenantAnswer::Accounts(page))) => page,
            other => panic!("not a page: {other:?}"),
        }
    }

    fn totals(&mut self, request: TenantRequest, now: u64) -> TenantTotals {
        self.replica.about_tenant("totals", request, at(now));
        match self.tenant_answers().pop() {
            Some(("totals", TenantAnswer::Totals(totals))) => totals,
            other => panic!("no totals: {other:?}"),
        }
    }

    fn by_value(&self, counted: &str) -> BTreeMap<String, u64> {
        let ValueCounts { values, others } = self.replica.values_of("acme", counted);
        assert_eq!(others, 0);
        values.into_iter().collect()
    }

    /// The counts by reading every account.
    fn naive_counts(&self, counted: &str, names: &[&str]) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        let now = self.replica.log_time().unwrap();
        for account in names
            .iter()
            .filter_map(|name| self.replica.account(&key(name)))
        {
            for metadata in account.active_metadata(now) {
                if let Some(value) = metadata.get(counted) {
                    *counts.entry(value.to_owned()).or_default() += 1;
                }
            }
        }
        counts
    }
}

fn of(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|&(value, n)| (value.to_owned(), n))
        .collect()
}

fn listed(page: &AccountsPage) -> Vec<(&str, u32)> {
    let accounts = page.accounts.iter();
    accounts.map(|it| (it.account.as_str(), it.count)).collect()
}

#[test]
fn streams_are_counted_by_the_values_of_their_metadata_until_they_end() {
    let mut rig = Rig::serving_by(counting(&["channel"]));
    rig.rounds(0, 1_000);
    rig.publish(
        1_000,
        &[
            playing("alice", 1, &[("channel", "news")]),
            playing("alice", 2, &[("channel", "sport"), ("device", "tv")]),
            playing("bob", 3, &[("channel", "news")]),
            heartbeat("bob", 4),
        ],
    );
    assert_eq!(rig.by_value("channel"), of(&[("news", 2), ("sport", 1)]));
    assert_eq!(rig.by_value("device"), of(&[]));
    // A heartbeat's metadata is merged.
    rig.publish(
        1_000,
        &[
            playing("alice", 1, &[("channel", "sport")]),
            playing("alice", 2, &[("device", "phone")]),
            playing("bob", 4, &[("channel", "news")]),
        ],
    );
    assert_eq!(rig.by_value("channel"), of(&[("news", 2), ("sport", 2)]));
    rig.publish(1_000, &[stop("alice", StopTarget::All)]);
    assert_eq!(rig.by_value("channel"), of(&[("news", 2)]));
    rig.rounds(1_000, 4_000);
    assert!(!rig.replica.is_expiring());
    assert_eq!(rig.by_value("channel"), of(&[]));
}

#[test]
fn totals_contain_the_requested_keys_that_are_counted() {
    let mut rig = Rig::serving_by(counting(&["channel", "device"]));
    rig.rounds(0, 1_000);
    rig.publish(
        1_000,
        &[
            playing("alice", 1, &[("channel", "news"), ("device", "tv")]),
            heartbeat("bob", 2),
        ],
    );
    let all = rig.totals(totals(&[]), 1_000);
    assert_eq!(
        (all.accounts, all.streams, all.as_of),
        (2, 2, WallTime(1_000))
    );
    let keys = |totals: &TenantTotals| -> Vec<String> {
        totals.by.iter().map(|(key, _)| key.clone()).collect()
    };
    assert_eq!(keys(&all), ["channel", "device"]);
    let some = rig.totals(totals(&["device", "asset"]), 1_000);
    assert_eq!(keys(&some), ["device"]);
    assert_eq!(some.by[0].1.values, [("tv".to_owned(), 1)]);
}

#[test]
fn existing_streams_are_counted_when_the_keys_change() {
    let mut rig = Rig::serving();
    rig.rounds(0, 1_000);
    let names: Vec<_> = (0..5_000).map(|n| n.to_string()).collect();
    let entries = names.iter().zip(0..).map(|(name, n)| {
        playing(
            name,
            n,
            &[("channel", if n % 2 == 0 { "news" } else { "sport" })],
        )
    });
    rig.publish(1_000, &entries.collect::<Vec<_>>());
    let with_keys = Settings {
        number: 2,
        ..counting(&["channel"])
    };
    rig.publish(1_000, &[declared(with_keys)]);
    assert!(rig.replica.is_scanning());
    // Totals wait for the counts.
    rig.replica.about_tenant("totals", totals(&[]), at(1_000));
    rig.replica.scan(at(1_000));
    assert!(rig.replica.is_scanning());
    assert_eq!(rig.requested(), []);
    // Accounts change while others are counted.
    let first: Vec<_> = (0..2_500)
        .map(|n| stop(&names[n], StopTarget::All))
        .collect();
    rig.publish(1_000, &first);
    rig.publish(1_000, &[playing("new", 7_000, &[("channel", "news")])]);
    rig.scan(1_000);
    assert_eq!(
        rig.by_value("channel"),
        of(&[("news", 1_251), ("sport", 1_250)])
    );
    rig.round(1_100);
    let answers = rig.tenant_answers();
    assert!(matches!(&answers[..], [("totals", TenantAnswer::Totals(it))] if it.streams == 2_501));
}

#[test]
fn pages_list_the_accounts_with_enough_streams_in_order() {
    let mut rig = Rig::serving();
    rig.rounds(0, 1_000);
    let other = Entry::Player {
        key: AccountKey::of("acme2", "alice").unwrap(),
        event: Heartbeat::of(id(100)).into(),
    };
    rig.publish(
        1_000,
        &[
            heartbeat("carol", 1),
            heartbeat("carol", 2),
            heartbeat("alice", 3),
            heartbeat("bob", 4),
            heartbeat("bob", 5),
            heartbeat("bob", 6),
            other,
        ],
    );
    let all = rig.page(accounts(1, None, 100), 1_000);
    assert_eq!(listed(&all), [("alice", 1), ("bob", 3), ("carol", 2)]);
    assert_eq!((all.has_more, all.as_of), (false, WallTime(1_000)));
    let two = rig.page(accounts(2, None, 1), 1_000);
    assert_eq!((listed(&two), two.has_more), (vec![("bob", 3)], true));
    let rest = rig.page(accounts(2, Some("bob"), 1), 1_000);
    assert_eq!((listed(&rest), rest.has_more), (vec![("carol", 2)], false));
    // A stream that is not active any more is not counted, even if its expiry is not processed.
    rig.rounds(1_000, 3_000);
    rig.publish(3_000, &[heartbeat("carol", 1)]);
    rig.rounds(3_000, 4_000);
    let late = rig.page(accounts(1, None, 100), 4_000);
    assert_eq!(listed(&late), [("carol", 1)]);
}

#[test]
fn several_requests_share_one_pass_and_later_ones_wait_for_the_next() {
    let mut rig = Rig::serving();
    rig.rounds(0, 1_000);
    rig.publish(1_000, &[heartbeat("alice", 1), heartbeat("bob", 2)]);
    for request in ["a", "b", "c"] {
        rig.replica
            .about_tenant(request, accounts(1, None, 100), at(1_000));
    }
    assert_eq!((rig.requested(), rig.replica.pending()), (vec![], 3));
    rig.scan(1_000);
    let answers = rig.tenant_answers();
    let requests: Vec<_> = answers.iter().map(|(request, _)| *request).collect();
    assert_eq!((requests, rig.replica.pending()), (vec!["a", "b", "c"], 0));
}

#[test]
fn requests_of_a_lost_connection_are_dropped_and_those_of_a_stale_replica_requeued() {
    let mut rig = Rig::serving();
    rig.rounds(0, 1_000);
    rig.publish(1_000, &[heartbeat("alice", 1)]);
    rig.replica
        .about_tenant("a", accounts(1, None, 100), at(1_000));
    rig.replica
        .about_tenant("b", accounts(1, None, 100), at(1_000));
    // Nothing is read back for long.
    rig.tick(1_700);
    let effects = rig.effects();
    assert!(effects.contains(&Effect::Release("a")) && effects.contains(&Effect::Release("b")));
    assert!(!rig.replica.is_scanning());
    rig.replica
        .about_tenant("c", accounts(1, None, 100), at(1_700));
    rig.replica.detach();
    assert_eq!(
        (rig.replica.pending(), rig.replica.is_scanning()),
        (0, false)
    );
}

#[test]
fn a_step_visits_a_bounded_number_of_accounts() {
    let mut rig = Rig::serving();
    rig.rounds(0, 1_000);
    let many = (0..20_000)
        .map(|n| heartbeat(&n.to_string(), n))
        .collect::<Vec<_>>();
    rig.publish(1_000, &many);
    rig.replica
        .about_tenant("a", accounts(2, None, 100), at(1_000));
    let steps = |rig: &mut Rig| {
        let mut steps = 0;
        while rig.replica.is_scanning() {
            rig.replica.scan(at(1_000));
            steps += 1;
        }
        steps
    };
    let few = steps(&mut rig);
    assert!((5..=6).contains(&few), "{few}");
    // Each account that is added costs more.
    rig.replica
        .about_tenant("a", accounts(1, None, 1_000), at(1_000));
    let many = steps(&mut rig);
    assert!(many > 2 * few, "{many}");
}
