//! Tests of replacing, stored refusals, late proposals, settings and caps.

use super::*;

#[test]
fn replacing_stops_the_named_streams_in_the_same_step() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.open(0, &request(2));
    assert_eq!(
        alice.open(1, &at_most(2, replacing(&[1], request(3)))),
        OPENED
    );
    assert_eq!(alice.active(1), [2, 3]);
    let replaced = HeartbeatOutcome::Stopped(StoppedReason::Replaced);
    assert_eq!(alice.heartbeat(2, 1), replaced);
    assert_eq!(alice.state(2, 1), StreamState::Stopped);
}

#[test]
fn a_refusal_replaces_nothing() {
    let mut alice = Alice::default();
    for n in [1, 2, 3] {
        alice.open(0, &request(n));
    }
    let refused = at_most(2, replacing(&[1], request(4)));
    assert_eq!(alice.open(1, &refused), MAX_ACTIVE);
    assert_eq!(alice.active(1), [1, 2, 3]);
}

#[test]
fn an_inactive_stream_to_replace_frees_no_place_and_is_refused_later() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    let with_unknown = replacing(&[7, 7, 8], request(2));
    assert_eq!(alice.open(0, &at_most(1, with_unknown.clone())), MAX_ACTIVE);
    assert_eq!(alice.open(0, &by(9, with_unknown)), OPENED);
    assert_eq!(alice.open(0, &request(7)), STOPPED);
    assert_eq!(alice.open(0, &request(8)), STOPPED);
}

#[test]
fn a_stream_stopped_by_its_player_stays_stopped_for_that_reason_when_replaced() {
    let mut alice = Alice::default();
    alice.stop(0, 1);
    alice.open(0, &replacing(&[1], request(2)));
    let stopped = HeartbeatOutcome::Stopped(StoppedReason::Stopped);
    assert_eq!(alice.heartbeat(0, 1), stopped);
}

#[test]
fn a_refusal_is_stored_for_its_request_for_thirty_seconds() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    let refused = at_most(1, request(2));
    assert_eq!(alice.open(0, &refused), MAX_ACTIVE);
    alice.stop(1, 1);
    assert_eq!(alice.open(REFUSAL_MS - 1, &refused), MAX_ACTIVE);
    assert_eq!(alice.active(REFUSAL_MS - 1), [] as [u128; 0]);
    assert_eq!(alice.open(REFUSAL_MS - 1, &by(9, refused.clone())), OPENED);
    alice.stop(REFUSAL_MS - 1, 2);
    assert_eq!(alice.open(REFUSAL_MS, &refused), STOPPED, "decided afresh");
}

#[test]
fn a_refusal_repeated_does_not_last_longer() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    let refused = at_most(1, request(2));
    alice.open(0, &refused);
    alice.open(20_000, &refused);
    alice.stop(20_000, 1);
    assert_eq!(alice.open(REFUSAL_MS, &refused), OPENED);
}

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
    assert_eq!(alice.open(10_000, &open), OPENED);
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
    assert_eq!(alice.open(1, &replacing(&[1], request(6))), OPENED);
    assert_eq!(alice.active(1), [2, 6]);
}

#[test]
fn the_oldest_refusal_is_evicted_at_the_limit() {
    let mut alice = Alice::with(|s| s.max_refusals_per_account = 2);
    alice.open(0, &request(1));
    for (at, n) in [(1, 4), (1, 3), (2, 5)] {
        assert_eq!(alice.open(at, &at_most(1, request(n))), MAX_ACTIVE);
    }
    alice.stop(3, 1);
    assert_eq!(alice.open(3, &at_most(1, request(4))), OPENED, "evicted");
    assert_eq!(alice.open(3, &request(3)), MAX_ACTIVE);
    assert_eq!(alice.open(3, &request(5)), MAX_ACTIVE);
}

#[test]
fn a_full_partition_takes_no_new_stream_and_keeps_those_it_has() {
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
    assert_eq!(alice.open(1, &replacing(&[1], request(7))), OPENED);
    assert_eq!(alice.stop(1, 2), StopOutcome::Ended);
    assert_eq!(alice.active(1), [7]);
}

#[test]
fn a_full_partition_stores_no_refusal_of_a_new_account() {
    let mut alice = Alice {
        full: true,
        ..Alice::default()
    };
    assert_eq!(alice.open(0, &request(1)), OVER_CAPACITY);
    assert!(alice.account.is_empty());
    // An expired stream does not count, whether it was removed or not.
    alice.full = false;
    alice.open(0, &request(2));
    alice.full = true;
    assert_eq!(alice.open(FORGOTTEN, &request(1)), OVER_CAPACITY);
    assert!(alice.account.is_empty());
    alice.full = false;
    assert_eq!(alice.open(FORGOTTEN, &request(1)), OPENED);
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
    assert_eq!(next(&alice, 10), Some(10 + REFUSAL_MS));
    alice.account.sweep(LogTime(10 + REFUSAL_MS));
    alice.stop(50_000, 1);
    assert_eq!(next(&alice, 50_000), Some(50_000 + TTL));
    alice.account.sweep(LogTime(50_000 + TTL));
    assert!(alice.account.is_empty());
    assert_eq!(alice.account.records(), 0);
}
