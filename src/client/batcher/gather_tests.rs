use proptest::prelude::*;

use super::*;
use crate::{
    client::batcher::bucket::bucket,
    domain::{Heartbeat, Metadata, StreamId},
};

const PATIENCE: Duration = Duration::from_secs(2);

fn heartbeat() -> PlayerEvent {
    Heartbeat::of(StreamId::generate()).into()
}

fn tenant() -> Tenant {
    Tenant::new("acme").unwrap()
}

fn account(n: usize) -> AccountId {
    AccountId::new(&format!("viewer-{n}")).unwrap()
}

fn partition(number: u16) -> PartitionNumber {
    PartitionNumber {
        partition: number,
        partitions: 4,
    }
}

/// A gatherer that has the partitions of `accounts` accounts, two in turn.
///
/// These are not the true partitions, so the ring is never trusted.
fn knowing(accounts: usize) -> Gatherer {
    let mut gatherer = Gatherer::new(1_000, PATIENCE);
    for n in 0..accounts {
        gatherer.learn(&tenant(), &account(n), partition((n % 2) as u16));
    }
    gatherer
}

/// Learns the true partitions of 300 other accounts.
fn learn_all(gatherer: &mut Gatherer, partitions: u16) {
    for n in 1_000..1_300 {
        let number = PartitionNumber {
            partition: bucket(&account(n), partitions),
            partitions,
        };
        gatherer.learn(&tenant(), &account(n), number);
    }
}

fn add(gatherer: &mut Gatherer, n: usize, now: Instant) -> Confirm {
    let added = gatherer.add(&tenant(), &account(n), &heartbeat(), now);
    added.unwrap().0
}

fn sizes(gatherer: &mut Gatherer, now: Instant) -> Vec<usize> {
    gatherer.close_gathered(now);
    let messages = std::iter::from_fn(|| gatherer.pop());
    messages.map(|message| message.events.len()).collect()
}

#[test]
fn known_accounts_gather_for_100_ms_and_others_are_sent_alone() {
    let (mut gatherer, now) = (knowing(4), Instant::now());
    assert_eq!(gatherer.next_at(), None);
    for n in [0, 1, 2, 9, 0, 9, 3] {
        add(&mut gatherer, n, now);
    }
    let gathered = now + GATHER_FOR;
    assert_eq!(gatherer.next_at(), Some(gathered));
    let before = gathered - Duration::from_millis(1);
    assert_eq!(sizes(&mut gatherer, before), [1, 1], "account 9");
    let mut batches = sizes(&mut gatherer, gathered);
    batches.sort_unstable();
    assert_eq!(batches, [2, 3], "accounts 1 and 3, and 0 and 2");
    assert_eq!((gatherer.bytes, gatherer.next_at()), (0, None));
}

#[test]
fn accounts_gather_once_the_ring_is_trusted_and_after_their_earlier_events() {
    let (mut gatherer, now) = (Gatherer::new(1_000, PATIENCE), Instant::now());
    for n in 0..20 {
        add(&mut gatherer, n, now);
    }
    learn_all(&mut gatherer, 4);
    assert!((0..20).all(|n| gatherer.accounts.has(&tenant(), &account(n))));
    for n in 0..20 {
        add(&mut gatherer, n, now);
    }
    let sizes = sizes(&mut gatherer, now + GATHER_FOR);
    assert_eq!(sizes[..20], [1; 20], "alone, and first");
    assert_eq!((sizes.len(), sizes[20..].iter().sum()), (24, 20));
}

#[test]
fn a_dropped_ring_closes_all_batches() {
    let (mut gatherer, now) = (Gatherer::new(1_000, PATIENCE), Instant::now());
    learn_all(&mut gatherer, 3);
    for n in 0..20 {
        add(&mut gatherer, n, now);
    }
    let number = PartitionNumber {
        partition: bucket(&account(7), 3),
        partitions: 3,
    };
    let mut rejected = Events::batch(&tenant(), &account(7), number);
    rejected.push(&account(7), &heartbeat());
    gatherer.reject(&rejected);
    assert!((0..20).all(|n| !gatherer.accounts.has(&tenant(), &account(n))));
    for n in 0..20 {
        add(&mut gatherer, n, now);
    }
    let sizes = sizes(&mut gatherer, now);
    assert_eq!((sizes[..3].iter().sum::<usize>(), sizes.len()), (20, 23));
    assert_eq!(sizes[3..], [1; 20]);
}

#[test]
fn tenants_do_not_share_batches() {
    let (mut gatherer, now) = (knowing(1), Instant::now());
    let other = Tenant::new("other").unwrap();
    gatherer.learn(&other, &account(0), partition(0));
    add(&mut gatherer, 0, now);
    let added = gatherer.add(&other, &account(0), &heartbeat(), now);
    assert!(added.is_ok());
    assert_eq!(sizes(&mut gatherer, now + GATHER_FOR), [1, 1]);
}

#[test]
fn a_batch_has_at_most_500_events() {
    let (mut gatherer, now) = (knowing(1), Instant::now());
    for _ in 0..1_001 {
        add(&mut gatherer, 0, now);
    }
    assert_eq!(sizes(&mut gatherer, now), [500, 500]);
    assert_eq!(sizes(&mut gatherer, now + GATHER_FOR), [1]);
}

#[test]
fn a_batch_has_at_most_128_kib() {
    let (mut gatherer, now) = (knowing(1), Instant::now());
    let metadata = (0..16).map(|n| (n.to_string(), "\u{1}".repeat(256)));
    let metadata = Metadata::new(&mut metadata.collect::<Vec<_>>()).unwrap();
    for _ in 0..50 {
        let large = Heartbeat {
            metadata: Some(metadata.clone().into()),
            ..Heartbeat::of(StreamId::generate())
        };
        let added = gatherer.add(&tenant(), &account(0), &large.into(), now);
        assert!(added.is_ok());
    }
    gatherer.close_gathered(now + GATHER_FOR);
    let messages: Vec<_> = std::iter::from_fn(|| gatherer.pop()).collect();
    let events = messages.iter().map(|message| message.events.len());
    assert_eq!(events.sum::<usize>(), 50);
    let bytes: Vec<_> = messages
        .iter()
        .map(|m| m.events.encode().body.len())
        .collect();
    assert!(
        bytes
            .iter()
            .all(|bytes| *bytes <= crate::wire::MAX_BATCH_BYTES)
    );
    assert!(bytes[0] > 100_000, "{bytes:?}");
    assert_eq!(gatherer.bytes, 0);
}

#[test]
fn events_that_wait_are_bounded() {
    let (mut gatherer, now) = (knowing(1), Instant::now());
    let mut added = 0;
    let error = loop {
        // Every tenth is sent alone.
        let n = usize::from(added % 10 == 0);
        match gatherer.add(&tenant(), &account(n), &heartbeat(), now) {
            Ok(_) => added += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ClientError::Backlog), "{error}");
    assert!(added > 50_000, "{added}");
    assert!((MOST_WAITING..MOST_WAITING + 1_024).contains(&gatherer.bytes));
    assert!(gatherer.pop().is_some());
    add(&mut gatherer, 0, now);
}

#[test]
fn an_expired_message_is_not_sent() {
    let (mut gatherer, now) = (knowing(1), Instant::now());
    let later = now + Duration::from_secs(1);
    add(&mut gatherer, 9, now);
    add(&mut gatherer, 8, later);
    assert_eq!(gatherer.next_at(), Some(now + PATIENCE));
    let just_before = now + PATIENCE - Duration::from_millis(1);
    assert!(gatherer.pop_expired(just_before).is_none());
    assert!(gatherer.pop_expired(now + PATIENCE).is_some());
    assert!(gatherer.pop_expired(now + PATIENCE).is_none());
    assert_eq!(gatherer.next_at(), Some(later + PATIENCE));
}

#[test]
fn a_short_patience_shortens_the_gathering() {
    let patience = Duration::from_millis(50);
    let (mut gatherer, now) = (Gatherer::new(10, patience), Instant::now());
    gatherer.learn(&tenant(), &account(0), partition(0));
    add(&mut gatherer, 0, now);
    assert_eq!(gatherer.next_at(), Some(now + patience / 2));
}

/// A step of a caller or of the background task.
#[derive(Clone, Debug)]
enum Step {
    Add(usize),
    Learn(usize, u16, u16),
    /// Learns the true partitions of all accounts, so often that the ring is trusted.
    LearnAll(u16),
    Reject(usize, u16, u16),
    Pass(u64),
    Pop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..6).prop_map(Step::Add),
        3 => (0_usize..6, 0_u16..3, 4_u16..6).prop_map(|(n, p, of)| Step::Learn(n, p, of)),
        1 => (1_u16..4).prop_map(Step::LearnAll),
        1 => (0_usize..6, 1_u16..4).prop_map(|(n, of)| Step::Reject(n, bucket(&account(n), of), of)),
        1 => (0_usize..6, 0_u16..3, 4_u16..6).prop_map(|(n, p, of)| Step::Reject(n, p, of)),
        2 => (0_u64..150).prop_map(Step::Pass),
        2 => Just(Step::Pop),
    ]
}

proptest! {
    #[test]
    fn the_events_of_an_account_leave_in_order(steps in prop::collection::vec(step(), 1..200)) {
        // So few accounts that they are dropped often.
        let mut gatherer = Gatherer::new(4, PATIENCE);
        let (mut now, tenant) = (Instant::now(), tenant());
        let (mut came, mut left) = (Vec::new(), Vec::new());
        let leave = |message: UnconfirmedMessage, left: &mut Vec<_>| {
            let events = (0..message.events.len()).filter_map(|n| message.events.event(n));
            left.extend(events.map(|(account, event)| (account, event.event)));
        };
        for step in steps {
            match step {
                Step::Add(n) => {
                    let event = heartbeat();
                    let added = gatherer.add(&tenant, &account(n), &event, now);
                    prop_assert!(added.is_ok());
                    came.push((account(n), event));
                }
                Step::Learn(n, partition, partitions) => {
                    let number = PartitionNumber { partition, partitions };
                    gatherer.learn(&tenant, &account(n), number);
                }
                Step::LearnAll(partitions) => learn_all(&mut gatherer, partitions),
                Step::Reject(n, partition, partitions) => {
                    let number = PartitionNumber { partition, partitions };
                    let mut batch = Events::batch(&tenant, &account(n), number);
                    batch.push(&account(n), &heartbeat());
                    gatherer.reject(&batch);
                }
                Step::Pass(ms) => now += Duration::from_millis(ms),
                Step::Pop => {
                    gatherer.close_gathered(now);
                    if let Some(message) = gatherer.pop() {
                        leave(message, &mut left);
                    }
                }
            }
        }
        gatherer.close_gathered(now + GATHER_FOR);
        while let Some(message) = gatherer.pop() {
            leave(message, &mut left);
        }
        prop_assert_eq!(gatherer.bytes, 0);
        for n in 0..6 {
            let of = |all: &[(AccountId, PlayerEvent)]| {
                let own = all.iter().filter(|(account, _)| *account == self::account(n));
                own.map(|(_, event)| event.stream()).collect::<Vec<_>>()
            };
            prop_assert_eq!(of(&came), of(&left));
        }
    }
}
