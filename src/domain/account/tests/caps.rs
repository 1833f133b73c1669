//! Tests of late proposals, settings and caps.

use super::*;

#[test]
fn an_expired_proposal_changes_nothing() {
    let mut alice = Alice::default();
    let open = Open {
        not_after: LogTime(10_000),
        ..replacing(&[1], request(2))
    };
    alice.heartbeat(0, 1);
    assert_eq!(alice.open(10_001, &open), OpenOutcome::Late);
    assert_eq!(alice.active(10_001), [1]);
    assert_eq!(alice.open(10_000, &open), opened_for(&[1]));
}

#[test]
fn a_tombstone_outlives_a_short_ttl_while_an_init_may_be_delivered() {
    let mut alice = Alice::default();
    alice.settings.ttl_ms = 2_000;
    alice.stop(0, 1);
    // Ten seconds in the queue, and two until the proposal has expired.
    assert_eq!(alice.state(11_999, 1), StreamState::Stopped);
    assert_eq!(alice.state(12_000, 1), StreamState::Unknown);
}

#[test]
fn an_account_has_at_most_its_cap_of_streams() {
    let mut alice = Alice::with(|s| s.max_streams_per_account = 2);
    alice.open(0, &request(1));
    alice.heartbeat(1, 2);
    assert_eq!(alice.open(1, &request(3)), ACCOUNT_CAP);
    let dropped = HeartbeatOutcome::Dropped(RefusedReason::AccountCap);
    assert_eq!(alice.heartbeat(1, 4), dropped);
    assert_eq!(alice.active(1), [1, 2]);
    assert_eq!(
        alice.open(1, &at_most(1, request(5))),
        MAX_ACTIVE,
        "comes first"
    );
    assert_eq!(alice.open(1, &request(2)), OPENED, "counts already");
    let replacing = replacing(&[1], request(6));
    assert_eq!(alice.open(1, &replacing), opened_for(&[1]));
    assert_eq!(alice.active(1), [2, 6]);
}

#[test]
fn a_full_partition_refuses_new_streams_and_keeps_active_ones() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.heartbeat(0, 2);
    alice.full = true;
    assert_eq!(alice.open(1, &request(3)), OVER_CAPACITY);
    let dropped = HeartbeatOutcome::Dropped(RefusedReason::OverCapacity);
    assert_eq!(alice.heartbeat(1, 4), dropped);
    assert_eq!(alice.open(1, &request(1)), OPENED);
    assert_eq!(alice.open(1, &request(2)), OPENED);
    assert_eq!(alice.heartbeat(1, 1), REFRESHED);
    assert_eq!(
        alice.stop(1, 5),
        StopOutcome::Unchanged,
        "its init is refused"
    );
    assert_eq!(alice.state(1, 5), StreamState::Unknown);
    assert_eq!(alice.open(1, &replacing(&[9], request(6))), OVER_CAPACITY);
    assert_eq!(
        alice.open(1, &replacing(&[1], request(7))),
        opened_for(&[1])
    );
    assert_eq!(alice.stop(1, 2), StopOutcome::Ended);
    assert_eq!(alice.active(1), [7]);
}

#[test]
fn the_next_change_is_the_next_moment_at_which_an_answer_would_differ() {
    let mut alice = Alice::default();
    let next = |alice: &Alice, now| alice.account.next_change(LogTime(now)).map(|t| t.0);
    assert_eq!(next(&alice, 0), None);
    alice.open(0, &request(1));
    assert_eq!(next(&alice, 0), Some(DEADLINE));
    assert_eq!(next(&alice, DEADLINE), Some(FORGOTTEN));
    alice.open(10, &at_most(1, request(2)));
    assert_eq!(next(&alice, 10), Some(10 + 30_000));
    alice.account.sweep(LogTime(10 + 30_000));
    alice.stop(50_000, 1);
    assert_eq!(next(&alice, 50_000), Some(50_000 + TTL));
    alice.account.sweep(LogTime(50_000 + TTL));
    assert!(alice.account.is_empty());
    assert_eq!(alice.account.records(), 0);
}
