//! Tests of stops of all streams of an account.

use super::*;

fn everything() -> Stop {
    Stop::of_all(Some(GivenReason::new("account closed").unwrap()))
}

// A field report: "we end a shared account, and half of its devices keep playing".
#[test]
fn one_stop_ends_all_active_streams_and_they_stay_out_for_a_ttl() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.heartbeat(0, 2);
    alice.open(0, &request(3));
    alice.stop(1, 3);
    assert_eq!(alice.stop_by(2, &everything()), StopOutcome::Ended);
    assert_eq!(alice.active(2), [] as [u128; 0]);
    let cause = StopCause {
        reason: StoppedReason::Stopped,
        given: GivenReason::new("account closed").ok(),
    };
    for n in [1, 2] {
        assert_eq!(alice.state(2, n), StreamState::Stopped);
        let stopped = HeartbeatOutcome::Stopped(cause.clone());
        assert_eq!(alice.heartbeat(TTL + 1, n), stopped);
    }
    let earlier = stays(StoppedReason::Stopped);
    assert_eq!(alice.heartbeat(TTL, 3), earlier, "its own reason stays");
}

#[test]
fn a_stop_of_all_without_active_streams_changes_nothing() {
    let mut alice = Alice::default();
    assert_eq!(alice.stop_by(0, &everything()), StopOutcome::Unchanged);
    assert!(alice.account.is_empty());
    alice.open(0, &request(1));
    assert_eq!(
        alice.stop_by(DEADLINE, &everything()),
        StopOutcome::Unchanged
    );
    assert_eq!(alice.state(DEADLINE, 1), StreamState::Expired);
    assert_eq!(alice.open(DEADLINE, &by(2, request(1))), OPENED);
    assert_eq!(alice.stop_by(DEADLINE, &everything()), StopOutcome::Ended);
    assert_eq!(
        alice.stop_by(DEADLINE, &everything()),
        StopOutcome::Unchanged
    );
}

#[test]
fn a_new_stream_can_start_after_a_stop_of_all() {
    let mut alice = Alice::default();
    alice.open(0, &at_most(1, request(1)));
    alice.stop_by(1, &everything());
    assert_eq!(alice.open(1, &at_most(1, request(2))), OPENED);
    assert_eq!(alice.heartbeat(1, 3), STARTED);
}

#[test]
fn a_stop_of_all_needs_no_room_for_tombstones() {
    let mut alice = Alice::with(|s| s.max_tombstones_per_account = 3);
    for n in [1, 2, 3] {
        alice.open(0, &request(n));
    }
    alice.full = true;
    assert_eq!(alice.stop_by(1, &everything()), StopOutcome::Ended);
    assert_eq!(alice.account.tombstones().len(), 3);
}
