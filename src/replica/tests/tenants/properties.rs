//! Properties of the counts and of the pages, for any entries.

use proptest::prelude::*;

use super::*;
use crate::domain::{AccountCount, MetadataPatch, WallShift};

#[derive(Clone, Debug)]
enum Op {
    Play(usize, u128, Option<(usize, usize)>),
    Remove(usize, u128),
    Stop(usize, u128),
    StopAll(usize),
    Pass(u64),
    CountBy(usize),
    Step,
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const KEYS: [&str; 2] = ["channel", "device"];
const VALUES: [&str; 3] = ["x", "y", "z"];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let account = || 0..NAMES.len();
    let op = prop_oneof![
        6 => (account(), 0..4_u128, prop::option::of((0..2_usize, 0..3_usize)))
            .prop_map(|(a, n, pair)| Op::Play(a, n, pair)),
        1 => (account(), 0..4_u128).prop_map(|(a, n)| Op::Remove(a, n)),
        2 => (account(), 0..4_u128).prop_map(|(a, n)| Op::Stop(a, n)),
        1 => account().prop_map(Op::StopAll),
        3 => (1..15_u64).prop_map(Op::Pass),
        1 => (0..4_usize).prop_map(Op::CountBy),
        1 => Just(Op::Step),
    ];
    prop::collection::vec(op, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_counts_equal_those_of_all_accounts_at_every_entry(ops in ops()) {
        let mut rig = Rig::serving_by(counting(&["channel"]));
        rig.rounds(0, 1_000);
        let (mut now, mut number) = (1_000, 1);
        for op in ops {
            // Each account has streams of its own.
            let stream = |a: usize, n: u128| a as u128 * 100 + n;
            match op {
                Op::Play(a, n, None) => rig.publish(now, &[heartbeat(NAMES[a], stream(a, n))]),
                Op::Play(a, n, Some((k, v))) => {
                    let pairs = [(KEYS[k], VALUES[v])];
                    rig.publish(now, &[playing(NAMES[a], stream(a, n), &pairs)]);
                }
                Op::Remove(a, n) => {
                    let removed = vec!["channel".into()];
                    let patch = MetadataPatch::merge(Metadata::default(), removed).unwrap();
                    rig.publish(now, &[Entry::Player {
                        key: key(NAMES[a]),
                        event: PlayerEvent::Heartbeat(Heartbeat {
                            metadata: Some(patch),
                            ..Heartbeat::of(id(stream(a, n)))
                        }),
                    }]);
                }
                Op::Stop(a, n) => {
                    rig.publish(now, &[stop(NAMES[a], StopTarget::One(id(stream(a, n))))]);
                }
                Op::StopAll(a) => rig.publish(now, &[stop(NAMES[a], StopTarget::All)]),
                Op::Pass(intervals) => {
                    let from = now;
                    now += intervals * INTERVAL;
                    rig.rounds(from, now);
                }
                Op::CountBy(keys) => {
                    number += 1;
                    let keys: &[&str] = [&KEYS[..0], &KEYS[..1], &KEYS[1..], &KEYS[..]][keys];
                    rig.publish(now, &[declared(Settings { number, ..counting(keys) })]);
                }
                Op::Step => rig.scan(now),
            }
            if rig.replica.is_expiring() || rig.replica.is_scanning() {
                continue;
            }
            let counted = rig.replica.counted_keys().to_vec();
            for key in &counted {
                prop_assert_eq!(rig.by_value(key), rig.naive_counts(key, &NAMES), "{}", key);
            }
            if counted.is_empty() {
                prop_assert_eq!(rig.by_value("channel"), of(&[]));
            }
        }
        // A replica that restores a snapshot has the same counts at once.
        rig.scan(now);
        while rig.replica.is_expiring() {
            rig.replica.expire();
        }
        let copy = rig.copy(now, &[playing("a", 1, &[("channel", "x")])], &[
            playing("b", 101, &[("channel", "y")]),
            playing("a", 1, &[("channel", "z")]),
        ]);
        let restored = rig.restored(copy).unwrap();
        prop_assert!(!restored.replica.is_scanning());
        for key in rig.replica.counted_keys() {
            prop_assert_eq!(restored.by_value(key), rig.by_value(key), "{}", key);
        }
    }

    #[test]
    fn every_account_that_plays_all_the_time_is_listed_once(
        before in prop::collection::btree_set(0..400_u128, 0..300),
        leaving in prop::collection::vec(0..400_u128, 0..100),
        coming in prop::collection::vec(1_000..1_100_u128, 0..50),
        limit in 1..120_u16,
        steps in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let mut accounts = Accounts::default();
        let settings = settings();
        let moment = crate::domain::Moment {
            now: LogTime(1),
            shift: WallShift::default(),
            settings: &settings,
            full: false,
        };
        let mut offset = 0;
        let mut change = |accounts: &mut Accounts, n: u128, plays: bool| {
            offset += 1;
            let key = key(&format!("{n:04}"));
            accounts.change(accounts.hash(&key), &key, offset, LogTime(1), |account, _| {
                if plays {
                    account.heartbeat(&moment, &Heartbeat::of(id(n)), &mut Vec::new());
                } else {
                    // Also its tombstone, so that another account moves into its slot.
                    *account = Account::default();
                }
            });
        };
        before.iter().for_each(|n| change(&mut accounts, *n, true));
        let stays = before.iter().filter(|n| !leaving.contains(n));
        let stays: Vec<_> = stays.map(|n| format!("{n:04}")).collect();
        let (mut leaving, mut coming) = (leaving.into_iter(), coming.into_iter());
        let (mut after, mut found, mut steps) = (None, Vec::new(), steps.into_iter().cycle());
        loop {
            accounts.begin_scan(vec![AccountsRequest {
                tenant: tenant(),
                min_active: 1,
                after: after.clone(),
                limit,
            }]);
            let page = loop {
                let budget = steps.next().unwrap_or(1);
                if let Some(mut pages) = accounts.scan_some(LogTime(1), WallShift::default(), budget) {
                    break pages.remove(0);
                }
                if let Some(n) = leaving.next().filter(|n| before.contains(n)) {
                    change(&mut accounts, n, false);
                }
                if let Some(n) = coming.next() {
                    change(&mut accounts, n, true);
                }
            };
            prop_assert!(page.accounts.len() <= limit.into());
            found.extend(page.accounts.iter().map(|AccountCount { account, .. }| {
                account.as_str().to_owned()
            }));
            after = page.accounts.last().map(|it| it.account.clone());
            if !page.has_more {
                break;
            }
        }
        prop_assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
        for account in stays {
            prop_assert!(found.contains(&account), "{account}");
        }
    }
}
