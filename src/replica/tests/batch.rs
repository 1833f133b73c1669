use super::{snapshot::assert_same, *};
use crate::domain::{
    Batch, BatchEvent, Counters, Heartbeat, HeartbeatOutcome, MetadataOutcome, Stop, StopCause,
    StopOutcome, StoppedReason,
};

/// A heartbeat, or a stop if the number of the stream is negative.
fn event(account: &str, n: i128) -> BatchEvent {
    let stream = id(n.unsigned_abs());
    let event = match n {
        0.. => Heartbeat::of(stream).into(),
        _ => Stop::of(stream).into(),
    };
    BatchEvent {
        index: 0,
        key: key(account),
        event,
    }
}

fn batch(events: &[(&str, i128)]) -> Entry {
    let events = events.iter().map(|(account, n)| event(account, *n));
    Entry::Batch(Batch::new(0, None, events.collect(), Vec::new()))
}

pub(super) const STARTED: Applied = Applied::Heartbeat(HeartbeatOutcome::Started {
    outdated: false,
    metadata: MetadataOutcome::Kept,
});
pub(super) const REFRESHED: Applied = Applied::Heartbeat(HeartbeatOutcome::Refreshed {
    outdated: false,
    metadata: MetadataOutcome::Kept,
});
const STOPPED: Applied = Applied::Heartbeat(HeartbeatOutcome::Stopped(StopCause {
    reason: StoppedReason::Stopped,
    given: None,
}));
const ENDED: Applied = Applied::Stop(StopOutcome::Ended);

impl Rig {
    pub(super) fn apply_last(&mut self, entry: Entry) -> Applied {
        let offset = self.log.len() as u64;
        self.log.push(entry.clone());
        self.next += 1;
        self.replica.apply(offset, &entry, at(0)).unwrap()
    }
}

#[test]
fn the_events_of_an_account_apply_in_order_and_each_has_its_outcome() {
    let mut rig = Rig::serving();
    let events = [
        ("bob", 3),
        ("alice", 1),
        ("bob", -3),
        ("alice", 1),
        ("alice", 2),
        ("bob", 3),
    ];
    // Ordered by account: alice's three events, then bob's.
    let expected = [STARTED, REFRESHED, STARTED, STARTED, ENDED, STOPPED];
    let applied = rig.apply_last(batch(&events));
    assert_eq!(applied, Applied::Batch(expected.to_vec()));
    let expected = Counters {
        started: 3,
        refreshed: 1,
        ended: 1,
        heartbeat_stopped: 1,
        ..*rig.replica.counters()
    };
    assert_eq!(*rig.replica.counters(), expected);
    assert_eq!(rig.replica.totals().streams, 2);
}

#[test]
fn a_batch_that_is_delivered_again_is_skipped() {
    let mut rig = Rig::serving();
    let entry = batch(&[("alice", 1), ("alice", 2), ("alice", -1)]);
    rig.apply_last(entry.clone());
    let (before, counters) = (rig.replica.account(&key("alice")), *rig.replica.counters());
    let offset = rig.log.len() as u64 - 1;
    let applied = rig.replica.apply(offset, &entry, at(0)).unwrap();
    assert_eq!(applied, Applied::Skipped);
    assert_eq!(rig.replica.account(&key("alice")), before);
    assert_eq!(*rig.replica.counters(), counters);
}

#[test]
fn rejected_events_of_a_batch_are_counted_by_their_reason() {
    let mut rig = Rig::serving();
    let rejected = Batch::new(0, None, vec![event("alice", 1)], vec![2, 3, 2]);
    let applied = rig.apply_last(Entry::Batch(rejected));
    assert_eq!(applied, Applied::Batch(vec![STARTED]));
    assert_eq!(rig.replica.counters().bad[..4], [0, 0, 2, 1]);
}

#[test]
fn a_limit_that_is_reached_within_a_batch_holds_for_its_later_events() {
    let mut rig = Rig::serving_by(Settings {
        max_streams_per_account: 2,
        ..settings()
    });
    let dropped = Applied::Heartbeat(HeartbeatOutcome::Dropped(RefusedReason::AccountCap));
    let events = [
        ("alice", 1),
        ("alice", 2),
        ("alice", 3),
        ("alice", -1),
        ("alice", 4),
    ];
    let expected = vec![STARTED, STARTED, dropped, ENDED, STARTED];
    assert_eq!(rig.apply_last(batch(&events)), Applied::Batch(expected));
}

#[test]
fn events_of_a_batch_are_announced_with_the_number_of_streams_after_each() {
    let mut rig = Rig::serving();
    rig.lead(0);
    rig.log.push(batch(&[
        ("bob", 9),
        ("alice", 1),
        ("alice", 2),
        ("alice", -1),
    ]));
    rig.read(0);
    let announced = rig.announced();
    let offset = rig.log.len() as u64 - 1;
    assert!(announced.iter().all(|a| a.1 == offset));
    let shown: Vec<_> = announced
        .iter()
        .map(|(_, _, account, count, kind)| (account.as_str(), *count, *kind))
        .collect();
    let expected = [
        ("alice", 1, "counted"),
        ("alice", 2, "counted"),
        ("alice", 1, "stopped"),
        ("bob", 1, "counted"),
    ];
    assert_eq!(shown, expected);
    // The log records the entry only after all of its events.
    let numbers: Vec<u64> = announced.iter().map(|a| a.0).collect();
    for number in &numbers[..3] {
        rig.replica.announced(*number, Ok(()));
        assert_eq!(rig.replica.announcements.to_record(), None);
    }
    rig.replica.announced(numbers[3], Ok(()));
    assert_eq!(rig.replica.announcements.to_record(), Some(offset));
}

#[test]
fn the_events_of_a_batch_have_different_message_ids() {
    let mut rig = Rig::serving();
    let events = [
        ("alice", 1),
        ("alice", 2),
        ("alice", -1),
        ("alice", 1),
        ("alice", -2),
    ];
    rig.log
        .push(batch(&[&events[..], &[("bob", 1), ("bob", -1)]].concat()));
    rig.read(0);
    let mut identities: Vec<_> = rig
        .replica
        .announcements
        .buffered()
        .map(|a| {
            (
                a.key.clone(),
                a.event.stream,
                std::mem::discriminant(&a.event.kind),
            )
        })
        .collect();
    assert_eq!(identities.len(), 6);
    identities.sort_by_key(|identity| format!("{identity:?}"));
    identities.dedup();
    assert_eq!(
        identities.len(),
        6,
        "one event of each kind, stream and account in an entry"
    );
}

#[test]
fn a_snapshot_taken_before_or_after_a_batch_restores_the_same_state() {
    let mut rig = Rig::serving();
    rig.publish(0, &[heartbeat("alice", 1), heartbeat("bob", 3)]);
    rig.rounds(0, 1_000);
    let one = batch(&[
        ("alice", -1),
        ("alice", 2),
        ("carol", 4),
        ("alice", -2),
        ("bob", 5),
    ]);
    let other = batch(&[
        ("carol", 4),
        ("alice", 6),
        ("carol", -4),
        ("alice", 7),
        ("bob", -3),
    ]);
    // One batch comes before the accounts are copied, the other after.
    let copy = rig.copy(1_000, &[one], std::slice::from_ref(&other));
    rig.rounds(1_000, 1_500);
    let restored = rig.restored(copy).unwrap();
    assert_same(&rig, &restored);
    let copy = rig.copy(1_500, &[], &[other]);
    rig.rounds(1_500, 1_600);
    assert_same(&rig, &rig.restored(copy).unwrap());
}

#[test]
fn the_expiries_of_a_batch_keep_up_with_further_batches() {
    let mut rig = Rig::serving();
    rig.replica.expire_per_entry(0);
    let names: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let of = |n: i128| {
        let events: Vec<_> = names.iter().map(|name| (name.as_str(), n)).collect();
        batch(&events)
    };
    rig.publish(0, &[of(1)]);
    rig.rounds(0, 2_200);
    assert!(rig.replica.is_expiring());
    let others: Vec<String> = (0..500).map(|n| format!("x{n}")).collect();
    let events: Vec<_> = others.iter().map(|name| (name.as_str(), 2)).collect();
    rig.publish(2_200, &[batch(&events), batch(&events)]);
    assert!(!rig.replica.is_expiring());
    assert_eq!(rig.replica.counters().expired.counts[0], 500);
}
