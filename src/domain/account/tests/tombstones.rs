//! Tests that a stopped stream stays stopped after any other entries of its account.

use super::*;

const NOT_KNOWN: StopOutcome = StopOutcome::Unchanged;

fn stopped() -> HeartbeatOutcome {
    stays(StoppedReason::Stopped)
}

fn dropped() -> HeartbeatOutcome {
    HeartbeatOutcome::Dropped(RefusedReason::AccountCap)
}

#[test]
fn no_flood_resurrects_a_stopped_stream() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    assert_eq!(alice.stop(0, 1), StopOutcome::Ended);
    for n in 10_000..13_000 {
        alice.stop(1, n);
        alice.open(1, &at_most(1, replacing(&[n + 3_000], request(n + 6_000))));
        alice.heartbeat(1, n + 9_000);
    }
    assert_eq!(alice.heartbeat(2, 1), stopped());
    assert_eq!(alice.open(2, &by(9, request(1))), STOPPED);
    assert!(alice.account.records() <= 1_000);
    assert_eq!(
        alice.heartbeat(TTL, 1),
        stopped(),
        "the heartbeat has renewed it"
    );
    assert_eq!(alice.state(2 * TTL, 1), StreamState::Unknown);
}

#[test]
fn at_the_cap_no_stream_starts_or_is_noted_until_tombstones_expire() {
    let mut alice = Alice::with(|s| s.max_tombstones_per_account = 3);
    for n in [1, 2] {
        assert_eq!(alice.stop(n, n as u128), StopOutcome::Tombstoned);
    }
    assert_eq!(
        alice.open(2, &request(3)),
        OPENED,
        "its tombstone has the last room"
    );
    assert_eq!(alice.stop(3, 4), NOT_KNOWN);
    assert_eq!(alice.open(3, &request(5)), ACCOUNT_CAP);
    assert_eq!(
        alice.open(3, &by(6, replacing(&[3], request(5)))),
        ACCOUNT_CAP
    );
    assert_eq!(alice.heartbeat(3, 6), dropped());
    assert_eq!(alice.open(3, &request(3)), OPENED, "a repetition");
    assert_eq!(alice.heartbeat(3, 3), REFRESHED);
    assert_eq!(alice.stop(4, 3), StopOutcome::Ended);
    assert_eq!(
        [1, 2, 3].map(|n| alice.state(4, n)),
        [StreamState::Stopped; 3]
    );
    assert_eq!(alice.heartbeat(TTL, 6), dropped());
    assert_eq!(alice.heartbeat(TTL + 1, 6), STARTED, "the first has lapsed");
}

#[test]
fn every_active_stream_can_be_stopped_or_replaced_at_the_cap() {
    let mut alice = Alice::with(|s| s.max_tombstones_per_account = 4);
    for n in 1..=4 {
        assert_eq!(alice.open(0, &request(n)), OPENED);
    }
    // The active stream can replace active streams, but not unknown ones.
    let replacing = replacing(&[2, 9], request(1));
    assert_eq!(alice.open(1, &replacing), opened_for(&[2]));
    assert_eq!(alice.state(1, 9), StreamState::Unknown);
    assert_eq!(alice.active(1), [1, 3, 4]);
    for n in [1, 3, 4] {
        assert_eq!(alice.stop(2, n), StopOutcome::Ended);
        assert_eq!(alice.heartbeat(2, n), stopped());
    }
    assert_eq!(alice.account.tombstones().len(), 4);
}

#[test]
fn an_init_reserves_the_place_of_its_own_stream_before_noting_others() {
    let mut alice = Alice::with(|s| s.max_tombstones_per_account = 3);
    assert_eq!(alice.open(0, &replacing(&[7, 8, 9], request(1))), OPENED);
    let states = [7, 8, 9].map(|n| alice.state(0, n));
    let (stopped, unknown) = (StreamState::Stopped, StreamState::Unknown);
    assert_eq!(states, [stopped, stopped, unknown]);
    assert_eq!(alice.stop(1, 1), StopOutcome::Ended);
}

#[test]
fn a_lower_cap_evicts_nothing() {
    let mut alice = Alice::default();
    for n in 1..=5 {
        alice.open(0, &request(n));
    }
    alice.stop(0, 1);
    alice.settings.max_tombstones_per_account = 1;
    for n in 2..=4 {
        assert_eq!(alice.stop(1, n), StopOutcome::Ended);
    }
    assert_eq!(alice.stop(1, 9), NOT_KNOWN);
    assert_eq!(alice.heartbeat(1, 9), dropped());
    assert_eq!(
        [1, 2, 3, 4].map(|n| alice.state(1, n)),
        [StreamState::Stopped; 4]
    );
    assert_eq!(alice.heartbeat(2, 5), REFRESHED);
}

#[test]
fn a_viewer_can_zap_once_a_second_indefinitely() {
    let mut alice = Alice::default();
    let seconds = 3 * u128::from(TTL) / 1_000;
    for n in 1..=seconds {
        let at = u64::try_from(n).unwrap() * 1_000;
        assert_eq!(alice.open(at, &at_most(1, request(n))), OPENED, "at {at}");
        assert_eq!(alice.stop(at + 500, n), StopOutcome::Ended);
    }
    let mut bob = Alice::default();
    for n in 1..=seconds {
        let at = u64::try_from(n).unwrap() * 1_000;
        let zapping = at_most(1, replacing(&[n - 1], request(n)));
        let before = if n == 1 { vec![] } else { vec![n - 1] };
        assert_eq!(bob.open(at, &zapping), opened_for(&before), "at {at}");
        assert_eq!(bob.active(at), [n]);
    }
}

#[test]
fn refusals_do_not_count_toward_the_cap_of_tombstones() {
    let mut alice = Alice::with(|s| s.max_tombstones_per_account = 2);
    alice.stop(0, 1);
    alice.open(0, &request(2));
    for n in 100..400 {
        assert_eq!(alice.open(1, &request(n)), ACCOUNT_CAP);
    }
    assert_eq!(alice.account.refusals().len(), 100);
    assert_eq!(alice.state(1, 1), StreamState::Stopped);
    assert_eq!(alice.stop(1, 2), StopOutcome::Ended);
}
