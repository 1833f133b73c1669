use proptest::prelude::*;

use super::*;

fn account(n: usize) -> AccountId {
    AccountId::new(&format!("viewer-{n}")).unwrap()
}

fn of(partition: u16, partitions: u16) -> PartitionNumber {
    PartitionNumber {
        partition,
        partitions,
    }
}

/// The partition of an account in a topology that has bound its partitions from this one on.
fn from(first: u16, n: usize, partitions: u16) -> PartitionNumber {
    let bucket = bucket(&account(n), partitions);
    of((bucket + first) % partitions, partitions)
}

/// Learns from replies about accounts from number `n` on until the ring is trusted. Returns the
/// number of replies, at most 10,000.
fn learn(ring: &mut Ring, first: u16, n: usize, partitions: u16) -> usize {
    let mut accounts = n..n + 10_000;
    let trusted = accounts.position(|n| {
        ring.learn(&account(n), from(first, n, partitions));
        ring.is_trusted()
    });
    trusted.map_or(10_000, |last| last + 1)
}

#[test]
fn a_ring_of_several_partitions_is_trusted_after_24_replies_about_each() {
    for (partitions, first) in [(2, 0), (3, 1), (4, 3), (64, 17)] {
        let mut ring = Ring::default();
        let replies = learn(&mut ring, first, 0, partitions);
        let least = usize::from(partitions) * usize::from(REPLIES);
        assert!((least..2 * least + 20).contains(&replies), "{replies}");
        for n in 20_000..21_000 {
            assert_eq!(ring.get(&account(n)), Some(from(first, n, partitions)));
            assert!(!ring.learn(&account(n), from(first, n, partitions)));
        }
    }
}

#[test]
fn no_partition_is_stated_before_the_last_bucket_has_its_replies() {
    let mut ring = Ring::default();
    let others = (0..2_000).filter(|n| from(0, *n, 4).partition != 2);
    for n in others {
        ring.learn(&account(n), from(0, n, 4));
    }
    let mut last = (0..).filter(|n| from(0, *n, 4).partition == 2);
    for n in last.by_ref().take(usize::from(REPLIES) - 1) {
        assert!(!ring.learn(&account(n), from(0, n, 4)));
        assert_eq!(ring.get(&account(0)), None);
    }
    let n = last.next().unwrap();
    assert!(ring.learn(&account(n), from(0, n, 4)), "it is trusted");
    assert_eq!(ring.get(&account(0)), Some(from(0, 0, 4)));
}

#[test]
fn one_reply_suffices_if_there_is_one_partition() {
    let mut ring = Ring::default();
    assert!(ring.learn(&account(1), of(0, 1)));
    assert_eq!(ring.get(&account(2)), Some(of(0, 1)));
    assert!(ring.reject(&account(2), of(0, 1)));
    assert_eq!(ring.get(&account(2)), None);
    assert!(ring.learn(&account(3), of(0, 1)));
    assert_eq!(ring.get(&account(2)), Some(of(0, 1)));
}

#[test]
fn one_reply_that_contradicts_drops_the_trusted_ring_and_all_are_learned_again() {
    let mut ring = Ring::default();
    learn(&mut ring, 0, 0, 4);
    assert!(ring.learn(&account(7), from(1, 7, 4)));
    assert_eq!(ring.get(&account(8)), None);
    assert!(learn(&mut ring, 1, 0, 4) >= 4 * usize::from(REPLIES) - 1);
    assert_eq!(ring.get(&account(8)), Some(from(1, 8, 4)));
}

#[test]
fn a_rejected_batch_drops_the_ring_only_if_the_ring_still_states_its_partition() {
    let mut ring = Ring::default();
    learn(&mut ring, 0, 0, 4);
    let [here, elsewhere] = [from(0, 7, 4), from(1, 7, 4)];
    assert!(!ring.reject(&account(7), elsewhere));
    assert!(!ring.reject(&account(7), of(here.partition, 8)));
    assert!(ring.is_trusted());
    assert!(ring.reject(&account(7), here));
    assert!(!ring.is_trusted());
    // While it learns, all replies are forgotten: they may be of an earlier topology.
    learn(&mut ring, 0, 0, 4);
    let mut ring = Ring::default();
    for n in 0..50 {
        ring.learn(&account(n), from(0, n, 4));
    }
    assert!(!ring.reject(&account(7), here));
    assert!(learn(&mut ring, 1, 0, 4) >= 4 * usize::from(REPLIES));
    assert_eq!(ring.get(&account(8)), Some(from(1, 8, 4)));
}

#[test]
fn another_number_of_partitions_drops_all() {
    let mut ring = Ring::default();
    learn(&mut ring, 0, 0, 4);
    assert!(ring.learn(&account(7), from(0, 7, 3)));
    assert_eq!((ring.get(&account(7)), ring.partitions()), (None, 3));
    learn(&mut ring, 0, 0, 3);
    assert_eq!(ring.get(&account(8)), Some(from(0, 8, 3)));
}

#[test]
fn contradictory_replies_end_the_learning_until_the_number_of_partitions_changes() {
    // Another hash, other weights of the bindings, and impossible numbers.
    let another_hash = |n: usize| of((n % 4) as u16, 4);
    let other_weights = |n: usize| of(bucket(&account(n), 5) % 4, 4);
    let impossible = |n: usize| of(bucket(&account(n), 4) + 1, 4);
    for wrong in [another_hash, other_weights, impossible] {
        let mut ring = Ring::default();
        for n in 0..200 {
            ring.learn(&account(n), wrong(n));
            assert!(!ring.is_trusted());
        }
        assert!(matches!(ring.stage, Stage::GivenUp));
        assert_eq!(learn(&mut ring, 0, 0, 4), 10_000, "never trusted");
        assert!(!ring.reject(&account(7), from(0, 7, 4)));
        assert!(learn(&mut ring, 0, 0, 3) < 200);
    }
    for partitions in [0, 65, u16::MAX] {
        let mut ring = Ring::default();
        for n in 0..10 {
            ring.learn(&account(n), of(0, partitions));
        }
        assert_eq!(ring.get(&account(7)), None);
        assert!(learn(&mut ring, 0, 0, 2) < 200);
    }
}

#[test]
fn a_ring_that_proves_to_be_wrong_three_times_is_given_up() {
    let mut ring = Ring::default();
    for drops in 1..=MOST_DROPS {
        assert!(learn(&mut ring, 0, 0, 4) < 200, "{drops}");
        let [here, elsewhere] = [from(0, 7, 4), from(1, 7, 4)];
        if drops == 2 {
            assert!(ring.reject(&account(7), here));
        } else {
            assert!(ring.learn(&account(7), elsewhere));
            // This reply alone is no longer true.
            ring.reject(&account(7), elsewhere);
        }
    }
    assert_eq!(learn(&mut ring, 0, 0, 4), 10_000, "never trusted");
    assert!(learn(&mut ring, 0, 0, 2) < 200);
}

/// A reply, or a rejected batch.
#[derive(Clone, Debug)]
enum Step {
    /// True replies about this number of accounts, in a topology.
    Replies(usize, u16, u16),
    /// A reply about an account that is not true.
    Wrong(usize, u16, u16),
    Reject(usize, u16, u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..90, 0_u16..2, 1_u16..4).prop_map(|(n, first, of)| Step::Replies(n, first, of)),
        1 => (0_usize..99, 0_u16..4, 1_u16..4).prop_map(|(n, p, of)| Step::Wrong(n, p, of)),
        1 => (0_usize..99, 0_u16..4, 1_u16..4).prop_map(|(n, p, of)| Step::Reject(n, p, of)),
    ]
}

proptest! {
    /// Every statement is that of the last 24 replies about the bucket, and no reply since has
    /// stated another number of partitions.
    #[test]
    fn no_statement_contradicts_the_last_replies(steps in prop::collection::vec(step(), 1..40)) {
        let mut ring = Ring::default();
        let mut replies: Vec<(usize, PartitionNumber)> = Vec::new();
        let mut next = 100;
        for step in steps {
            let mut reply = |ring: &mut Ring, n: usize, stated| {
                ring.learn(&account(n), stated);
                replies.push((n, stated));
            };
            match step {
                Step::Replies(count, first, of) => for _ in 0..count {
                    reply(&mut ring, next, from(first, next, of));
                    next += 1;
                },
                Step::Wrong(n, partition, partitions) => {
                    reply(&mut ring, n, of(partition, partitions));
                }
                Step::Reject(n, partition, partitions) => {
                    ring.reject(&account(n), of(partition, partitions));
                }
            }
            for n in 0..20 {
                let Some(stated) = ring.get(&account(n)) else {
                    continue;
                };
                prop_assert_eq!(replies.last().unwrap().1.partitions, stated.partitions);
                let of_bucket = |n: usize| bucket(&account(n), stated.partitions);
                let about = replies.iter().rev().filter(|(other, _)| of_bucket(*other) == of_bucket(n));
                let needed = if stated.partitions == 1 { 1 } else { usize::from(REPLIES) };
                let last: Vec<_> = about.take(needed).map(|(_, number)| *number).collect();
                prop_assert_eq!(last, vec![stated; needed]);
            }
        }
    }
}
