use std::collections::HashMap;

use super::*;
use crate::domain::{AccountId, Heartbeat, Moment, Settings, StreamId, Tenant, WallShift};

/// A number of accounts whose table can be shrunk.
const MANY: u64 = 2 * index::LARGE as u64;

fn key(account: &str) -> AccountKey {
    AccountKey::new(
        &Tenant::new("acme").unwrap(),
        &AccountId::new(account).unwrap(),
    )
}

fn heartbeat(accounts: &mut Accounts, settings: &Settings, account: &str, id: StreamId, at: u64) {
    let moment = Moment {
        now: LogTime(at),
        shift: WallShift::default(),
        settings,
        full: false,
    };
    let key = key(account);
    accounts.change(accounts.hash(&key), &key, at + 1, moment.now, |a, _| {
        let heartbeat = Heartbeat {
            every_ms: Some(1),
            ..Heartbeat::of(id)
        };
        a.heartbeat(&moment, &heartbeat, &mut Vec::new());
    });
}

fn advance(accounts: &mut Accounts, now: u64) {
    let now = LogTime(now);
    accounts.advance(TimeStep {
        offset: 0,
        before: now,
        now,
        shift: WallShift::default(),
        rules: Rules::NEWEST,
    });
    accounts.expire(usize::MAX);
}

#[test]
fn totals_change_when_log_time_advances() {
    let settings = Settings {
        ttl_ms: 2_000,
        ..Settings::default()
    };
    let mut accounts = Accounts::default();
    let id = StreamId::generate();
    heartbeat(&mut accounts, &settings, "alice", id, 0);
    heartbeat(&mut accounts, &settings, "bob", StreamId::generate(), 0);
    let of = |accounts: u64, streams: u64, records: u64| StreamCounts {
        accounts,
        streams,
        records,
    };
    assert_eq!(accounts.indexes.counts.totals, of(2, 2, 2));
    heartbeat(&mut accounts, &settings, "alice", id, 1_000);
    advance(&mut accounts, 2_199);
    assert_eq!(accounts.indexes.counts.totals, of(2, 2, 2));
    advance(&mut accounts, 2_200);
    assert_eq!(accounts.indexes.counts.totals, of(1, 1, 2));
    advance(&mut accounts, 3_200);
    assert_eq!(accounts.indexes.counts.totals, of(0, 0, 2));
    advance(&mut accounts, 5_200);
    assert_eq!(accounts.indexes.counts.totals, of(0, 0, 0));
    assert_eq!(accounts.indexes.counts.by_tenant.len(), 0);
    assert_eq!(
        (accounts.table.slots.len(), accounts.table.index.len()),
        (0, 0)
    );
    assert_eq!(accounts.indexes.due.len(), 0);
}

#[test]
fn accounts_are_counted_by_their_number_of_streams() {
    let settings = Settings {
        ttl_ms: 2_000,
        ..Settings::default()
    };
    let mut accounts = Accounts::default();
    for (account, streams) in [("alice", 1), ("bob", 2), ("carol", 10), ("dave", 12)] {
        for n in 0..streams {
            let id = StreamId::generate();
            heartbeat(&mut accounts, &settings, account, id, n);
        }
    }
    let Levels(levels) = accounts.indexes.counts.levels;
    assert_eq!(levels, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    // The first stream of each has expired: alice has none left, dave eleven.
    advance(&mut accounts, 2_200);
    let Levels(levels) = accounts.indexes.counts.levels;
    assert_eq!(levels, [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
    advance(&mut accounts, 9_000);
    assert_eq!(accounts.indexes.counts.levels, Levels::default());
}

#[test]
fn a_busy_account_is_in_the_index_once() {
    let settings = Settings::default();
    let mut accounts = Accounts::default();
    let id = StreamId::generate();
    for at in 0..1_000 {
        heartbeat(&mut accounts, &settings, "alice", id, at * 10);
    }
    assert_eq!(accounts.indexes.due.len(), 1);
}

#[test]
fn every_existing_account_is_copied_while_others_are_added() {
    let settings = Settings::default();
    let mut accounts = Accounts::default();
    let begin = |accounts: &mut Accounts, numbers: Range<u64>| {
        for n in numbers {
            heartbeat(accounts, &settings, &n.to_string(), StreamId::generate(), n);
        }
    };
    begin(&mut accounts, 0..5_000);
    accounts.copy();
    let mut copied = HashMap::new();
    // Three accounts are added for every two that are copied: the copy ends nevertheless.
    for parts in 1.. {
        let mut left = 2;
        accounts.copy_next(|key, last, account| {
            assert!(!account.is_empty());
            assert_eq!(copied.insert(key.clone(), last), None, "once");
            left -= 1;
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if left > 0 {
            assert_eq!(parts, 2_501);
            break;
        }
        let next = 5_000 + 3 * parts;
        begin(&mut accounts, next..next + 3);
    }
    assert_eq!(copied.len(), 5_000);
    for n in 0..5_000 {
        assert_eq!(copied.get(&key(&n.to_string())), Some(&(n + 1)));
    }
}

#[test]
fn accounts_emptied_during_a_copy_are_removed_afterwards() {
    let settings = Settings {
        ttl_ms: 2_000,
        ..Settings::default()
    };
    let mut accounts = Accounts::default();
    let id = StreamId::generate();
    for n in 0..100 {
        heartbeat(&mut accounts, &settings, &n.to_string(), id, n);
    }
    accounts.copy();
    // All but a few are removed; one of the removed ones is added again.
    let stay = |n: u64| n.is_multiple_of(7);
    for n in (0..100).filter(|&n| stay(n)) {
        heartbeat(&mut accounts, &settings, &n.to_string(), id, 3_000);
    }
    advance(&mut accounts, 4_500);
    heartbeat(&mut accounts, &settings, "99", id, 4_500);
    assert_eq!(
        (accounts.table.slots.len(), accounts.table.index.len()),
        (100, 100),
        "kept while they are copied"
    );
    let mut copied = 0;
    accounts.copy_next(|_, _, _| {
        copied += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(copied, 100);
    accounts.copied();
    for n in 0..100 {
        let there = accounts.get(&key(&n.to_string())).map(Account::records);
        assert_eq!(there, (stay(n) || n == 99).then_some(1), "{n}");
    }
    advance(&mut accounts, 7_200);
    assert_eq!(accounts.indexes.counts.totals.records, 1);
    advance(&mut accounts, 9_000);
    assert_eq!(
        (accounts.table.slots.len(), accounts.table.index.len()),
        (0, 0)
    );
}

#[test]
fn the_table_shrinks_when_few_accounts_are_left() {
    let settings = Settings::default();
    let mut accounts = Accounts::default();
    let stay = |n: u64| n.is_multiple_of(1_000);
    let begin = |accounts: &mut Accounts, n: u64, at: u64| {
        let id = StreamId(uuid::Uuid::from_u128(u128::from(n)));
        heartbeat(accounts, &settings, &n.to_string(), id, at);
    };
    for n in 0..MANY {
        begin(&mut accounts, n, n);
    }
    accounts.housekeep();
    assert!(!accounts.table.index.is_too_large());
    let later = MANY + 80_000;
    (0..MANY)
        .filter(|&n| stay(n))
        .for_each(|n| begin(&mut accounts, n, later));
    advance(&mut accounts, later + 120_000);
    accounts.housekeep();
    let left = (0..MANY).filter(|&n| stay(n)).count();
    assert!(!accounts.table.index.is_too_large());
    assert_eq!(
        (accounts.table.slots.len(), accounts.table.index.len()),
        (left, left)
    );
    for n in 0..MANY {
        let there = accounts.get(&key(&n.to_string())).map(Account::records);
        assert_eq!(there, stay(n).then_some(1), "{n}");
    }
    let mut copied = 0;
    accounts.copy();
    accounts.copy_next(|_, _, _| {
        copied += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(copied, left);
}

#[test]
fn outdated_due_moments_are_removed_with_the_accounts() {
    let ttl = |ttl_ms| Settings {
        ttl_ms,
        ..Settings::default()
    };
    let (long, short) = (ttl(3_600_000), ttl(2_000));
    let mut accounts = Accounts::default();
    let kept = |accounts: &Accounts| accounts.indexes.due.len();
    let id = StreamId::generate();
    let many = MANY;
    for n in 0..many {
        heartbeat(&mut accounts, &long, &n.to_string(), id, n);
    }
    for n in 0..many {
        heartbeat(&mut accounts, &short, &n.to_string(), id, many + n);
    }
    let stays = StreamId::generate();
    heartbeat(&mut accounts, &long, "alice", stays, 2 * many);
    heartbeat(&mut accounts, &short, "bob", stays, 2 * many + 8_000);
    advance(&mut accounts, 2 * many + 7_000);
    assert!(kept(&accounts) as u64 >= many + 2);
    accounts.housekeep();
    assert_eq!(kept(&accounts), 2);
    // The remaining accounts are found when they are due.
    advance(&mut accounts, 2 * many + 20_000);
    assert_eq!(accounts.indexes.counts.totals.accounts, 1);
    advance(&mut accounts, 8_000_000);
    assert_eq!(accounts.indexes.counts.totals, StreamCounts::default());
    assert_eq!(accounts.indexes.due.len(), 0);
}
