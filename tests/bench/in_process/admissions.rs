//! Speed of deciding `init`s, beside the handful of streams of an account.

use std::sync::Arc;

use streamwatch::domain::{
    AccountId, AccountKey, Condition, Entry, EntryId, Internal, InternalEntry, Limit, LogTime,
    Metadata, Open, RequestId, StreamId, Tenant, Terms,
};

use super::bare;
use super::corpus;
use super::ours::Ours;
use crate::pairs::{Pairs, ns_each};
use crate::report::{Report, Target};

/// The accounts, with one measured `init` each.
const ACCOUNTS: usize = 20_000;
/// Active streams of each account before it.
const BEFORE: usize = 4;
/// The worker that wrote the entries.
const WRITER: u64 = 3;

pub fn run(report: &mut Report) {
    let name = |limits: &str, beside: &str| {
        format!("init beside {BEFORE} streams, {limits}, beside {beside}")
    };
    let none = name("no limits", "an insert into a cache");
    if report.wants(&none) {
        let measured = Pairs::measure(report.pairs, || decide(0), insert);
        report.add(none, "ns", measured, Target::None);
    }
    for (limits, text) in [(1, "1 limit"), (8, "8 limits")] {
        let some = name(text, "none");
        if report.wants(&some) {
            let measured = Pairs::measure(report.pairs, || decide(limits), || decide(0));
            report.add(some, "ns", measured, Target::None);
        }
    }
}

/// Applies an `init` of each account, with this number of limits. All are opened.
fn decide(limits: usize) -> f64 {
    let mut ours = Ours::empty();
    let terms = |count| {
        let limits = (0..count).map(limit).collect();
        (count > 0).then(|| {
            Box::new(Terms {
                limits,
                ..Terms::default()
            })
        })
    };
    for stream in 0..BEFORE {
        ours.take_decoded(&inits(stream, &terms(0)));
    }
    let measured = inits(BEFORE, &terms(limits));
    let each = ns_each(ACCOUNTS, || ours.take_decoded(&measured));
    let streams = ACCOUNTS * (BEFORE + 1);
    assert_eq!(ours.replica.totals().streams, streams as u64);
    each
}

/// An `init` of each account, of its `n`th stream.
fn inits(n: usize, terms: &Option<Box<Terms>>) -> Vec<Entry> {
    let tenant = Tenant::new(corpus::TENANT).expect("letters");
    let init = |(position, account): (usize, usize)| {
        let id = corpus::stream(n * ACCOUNTS + account);
        let name = AccountId::new(&corpus::account(account)).expect("letters");
        let mut metadata = corpus::metadata(n, corpus::CHANNELS);
        let open = Open {
            key: AccountKey::new(&tenant, &name),
            stream: StreamId(id),
            request: RequestId(id),
            not_after: LogTime(u64::MAX),
            max_active: None,
            replace: Vec::new(),
            metadata: Metadata::new(&mut metadata).expect("three pairs"),
            terms: terms.clone(),
        };
        Entry::Internal(InternalEntry {
            entry_id: EntryId {
                writer: WRITER,
                seq: (n * ACCOUNTS + position + 1) as u64,
            },
            writer_state: None,
            body: Internal::Open(Box::new(open)),
        })
    };
    let accounts = corpus::shuffled(0..ACCOUNTS, n as u64);
    accounts.into_iter().enumerate().map(init).collect()
}

/// One of several limits, none of which is exceeded.
fn limit(n: usize) -> Limit {
    let max = 10;
    match n % 4 {
        0 => Limit {
            distinct: Some("device".into()),
            ..Limit::of_all(max)
        },
        1 => Limit::of_all(max),
        2 => Limit {
            conditions: vec![condition("device", &["tv", "phone"])],
            ..Limit::of_all(max)
        },
        _ => Limit {
            distinct: Some("channel".into()),
            conditions: vec![condition("application", &["tv-app 4.7"])],
            ..Limit::of_all(max)
        },
    }
}

fn condition(key: &str, values: &[&str]) -> Condition {
    Condition {
        key: key.into(),
        values: values.iter().map(|value| (*value).into()).collect(),
    }
}

/// Looks up each account in a cache of lists, and inserts a longer one.
fn insert() -> f64 {
    let cache = moka::sync::Cache::builder().build();
    let value = |n: usize| bare::value(n, corpus::CHANNELS);
    for n in corpus::shuffled(0..ACCOUNTS, 0) {
        let streams = (0..BEFORE).map(|_| value(n)).collect::<Vec<_>>();
        cache.insert(bare::key(n), Arc::new(streams));
    }
    cache.run_pending_tasks();
    let keys: Vec<_> = corpus::shuffled(0..ACCOUNTS, BEFORE as u64)
        .into_iter()
        .map(|n| (bare::key(n), value(n)))
        .collect();
    ns_each(ACCOUNTS, || {
        for (key, value) in keys {
            let mut streams = cache.get(&key).expect("it is there").to_vec();
            streams.push(value);
            cache.insert(key, Arc::new(streams));
        }
    })
}
