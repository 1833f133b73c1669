//! Tests of `init`, heartbeat and stop for an unknown, an expired, an active and a stopped stream.

use super::*;

#[test]
fn an_init_starts_an_unknown_stream_as_admitted() {
    let mut alice = Alice::default();
    assert_eq!(alice.open(5, &at_most(1, request(1))), OPENED);
    let stream = alice.only(5, 1);
    assert!(stream.admitted);
    assert_eq!(
        (stream.started_at, stream.last_seen),
        (WallTime(5), WallTime(5))
    );
    assert_eq!(stream.expires_in_ms, TTL);
    assert_eq!(alice.state(5, 1), StreamState::Active);
}

#[test]
fn max_active_counts_the_new_stream() {
    let mut alice = Alice::default();
    assert_eq!(alice.open(0, &at_most(2, request(1))), OPENED);
    assert_eq!(alice.open(0, &at_most(2, request(2))), OPENED);
    assert_eq!(alice.open(0, &at_most(2, request(3))), MAX_ACTIVE);
    assert_eq!(alice.open(0, &at_most(3, request(4))), OPENED);
    assert_eq!(alice.active(0), [1, 2, 4]);
    assert_eq!(alice.state(0, 3), StreamState::Unknown);
}

#[test]
fn an_expired_stream_does_not_count_and_can_start_again() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    assert_eq!(
        alice.open(DEADLINE - 1, &at_most(1, request(2))),
        MAX_ACTIVE
    );
    assert_eq!(alice.open(DEADLINE, &at_most(1, request(3))), OPENED);
    assert_eq!(
        alice.open(DEADLINE, &by(11, at_most(1, request(1)))),
        MAX_ACTIVE
    );
    assert_eq!(alice.state(DEADLINE, 1), StreamState::Expired);
    assert_eq!(alice.open(DEADLINE + 1, &by(12, request(1))), OPENED);
    assert_eq!(
        alice.activity(DEADLINE + 1)[1].started_at.0,
        DEADLINE as i64 + 1
    );
}

#[test]
fn a_retried_init_refreshes_the_stream_independent_of_its_limit() {
    let mut alice = Alice::default();
    let first = Open {
        metadata: metadata("tv"),
        ..request(1)
    };
    alice.open(0, &first);
    alice.open(0, &request(2));
    alice.full = true;
    alice.settings.max_streams_per_account = 1;
    assert_eq!(alice.open(50_000, &at_most(1, request(1))), OPENED);
    let stream = alice.activity(DEADLINE).pop().unwrap();
    assert_eq!(alice.active(DEADLINE), [1]);
    assert_eq!(
        (stream.started_at, stream.last_seen),
        (WallTime(0), WallTime(50_000))
    );
    assert_eq!(stream.metadata, metadata("tv"), "a retry without metadata");
    assert_eq!(alice.active(50_000 + DEADLINE), [] as [u128; 0]);
}

#[test]
fn an_init_after_a_heartbeat_is_decided_by_the_other_streams() {
    let mut alice = Alice::default();
    alice.heartbeat(0, 1);
    assert!(!alice.only(0, 1).admitted);
    assert_eq!(alice.open(1_000, &at_most(1, request(1))), OPENED);
    let stream = alice.only(1_000, 1);
    assert!(stream.admitted);
    assert_eq!(
        (stream.started_at, stream.last_seen),
        (WallTime(0), WallTime(1_000))
    );
}

#[test]
fn a_refused_init_does_not_change_a_stream_started_by_a_heartbeat() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.heartbeat(0, 2);
    assert_eq!(alice.open(1_000, &at_most(1, request(2))), MAX_ACTIVE);
    let stream = alice.activity(1_000)[1].clone();
    assert_eq!((stream.stream, stream.admitted), (id(2), false));
    assert_eq!(stream.last_seen, WallTime(0), "a refusal refreshes nothing");
    assert_eq!(alice.heartbeat(2_000, 2), REFRESHED);
}

#[test]
fn a_stop_before_the_init_refuses_it() {
    let mut alice = Alice::default();
    assert_eq!(alice.stop(0, 1), StopOutcome::Tombstoned);
    assert_eq!(alice.state(0, 1), StreamState::Stopped);
    assert_eq!(alice.open(TTL - 1, &request(1)), STOPPED);
    assert_eq!(alice.open(TTL, &by(11, request(1))), OPENED);
}

#[test]
fn a_heartbeat_of_an_unknown_stream_counts_as_not_admitted() {
    let mut alice = Alice::default();
    let started = HeartbeatOutcome::Started {
        outdated: false,
        metadata: MetadataOutcome::Changed,
    };
    assert_eq!(alice.beat_with(7, 1, &[("device", "tv")]), started);
    let stream = alice.only(7, 1);
    assert_eq!((stream.admitted, stream.started_at), (false, WallTime(7)));
    assert_eq!(stream.metadata, metadata("tv"));
}

#[test]
fn a_heartbeat_after_the_deadline_is_a_new_start() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    assert_eq!(alice.heartbeat(DEADLINE - 1, 1), REFRESHED);
    let again = 2 * DEADLINE - 1;
    assert_eq!(alice.heartbeat(again, 1), STARTED);
    let stream = alice.only(again, 1);
    assert_eq!(
        (stream.admitted, stream.started_at.0),
        (false, again as i64)
    );
}

#[test]
fn a_heartbeat_refreshes_and_without_metadata_keeps_it() {
    let mut alice = Alice::default();
    alice.beat_with(0, 1, &[("device", "tv")]);
    assert_eq!(alice.heartbeat(10, 1), REFRESHED);
    let stream = alice.only(10, 1);
    assert_eq!(stream.metadata, metadata("tv"));
    assert_eq!(
        (stream.started_at, stream.last_seen),
        (WallTime(0), WallTime(10))
    );
}

#[test]
fn a_heartbeat_never_resurrects_a_stopped_stream_and_renews_its_tombstone() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    assert_eq!(alice.stop(0, 1), StopOutcome::Ended);
    let stopped = stays(StoppedReason::Stopped);
    assert_eq!(alice.heartbeat(TTL - 1, 1), stopped);
    assert_eq!(alice.heartbeat(2 * TTL - 2, 1), stopped);
    assert_eq!(alice.active(2 * TTL - 2), [] as [u128; 0]);
    assert_eq!(alice.state(3 * TTL - 3, 1), StreamState::Stopped);
    assert_eq!(alice.state(3 * TTL - 2, 1), StreamState::Unknown);
    assert_eq!(alice.heartbeat(3 * TTL - 2, 1), STARTED);
}

#[test]
fn a_stop_ends_an_active_stream_at_once() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.heartbeat(0, 2);
    assert_eq!(alice.stop(10, 1), StopOutcome::Ended);
    assert_eq!(alice.active(10), [2]);
    assert_eq!(alice.state(10, 1), StreamState::Stopped);
    assert_eq!(alice.open(10, &by(9, at_most(2, request(3)))), OPENED);
}

#[test]
fn a_stop_of_an_expired_stream_is_noted() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    assert_eq!(alice.stop(DEADLINE, 1), StopOutcome::Tombstoned);
    assert_eq!(alice.state(DEADLINE, 1), StreamState::Stopped);
    assert_eq!(alice.state(DEADLINE + TTL, 1), StreamState::Unknown);
}

#[test]
fn a_second_stop_does_not_extend_the_tombstone() {
    let mut alice = Alice::default();
    alice.stop(0, 1);
    assert_eq!(alice.stop(TTL - 1, 1), StopOutcome::Unchanged);
    assert_eq!(alice.state(TTL, 1), StreamState::Unknown);
}

#[test]
fn a_silent_stream_is_active_then_expired_then_unknown_swept_or_not() {
    for sweep in [false, true] {
        let mut alice = Alice::default();
        alice.open(0, &request(1));
        for (at, state) in [
            (DEADLINE - 1, StreamState::Active),
            (DEADLINE, StreamState::Expired),
            (FORGOTTEN - 1, StreamState::Expired),
            (FORGOTTEN, StreamState::Unknown),
        ] {
            if sweep {
                alice.account.sweep(LogTime(at));
            }
            assert_eq!(alice.state(at, 1), state, "at {at}, swept: {sweep}");
            let count = usize::from(state == StreamState::Active);
            assert_eq!(alice.account.count(LogTime(at)), count);
        }
        assert_eq!(alice.account.is_empty(), sweep);
    }
}

#[test]
fn expires_in_reaches_zero_at_the_ttl_before_the_deadline() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    assert_eq!(alice.only(TTL - 1, 1).expires_in_ms, 1);
    assert_eq!(alice.only(TTL, 1).expires_in_ms, 0);
    assert_eq!(alice.only(DEADLINE - 1, 1).expires_in_ms, 0);
}

#[test]
fn streams_are_in_the_order_of_their_starts() {
    let mut alice = Alice::default();
    for (at, n) in [(0, 9), (5, 3), (5, 1), (7, 2)] {
        alice.heartbeat(at, n);
    }
    assert_eq!(alice.active(7), [9, 3, 1, 2]);
}

#[test]
fn repeating_any_entry_changes_nothing() {
    let mut once = Alice::default();
    let mut twice = Alice::default();
    let refused = at_most(1, request(3));
    for _ in 0..2 {
        twice.open(0, &request(1));
    }
    once.open(0, &request(1));
    for (alice, times) in [(&mut once, 1), (&mut twice, 2)] {
        for again in 0..times {
            let outcome = alice.open(1, &replacing(&[1], request(2)));
            assert_eq!(outcome, if again == 0 { opened_for(&[1]) } else { OPENED });
        }
        for again in 0..times {
            let outcome = match again {
                0 => MAX_ACTIVE,
                _ => remembered(RefusedReason::MaxActive),
            };
            assert_eq!(alice.open(2, &refused), outcome);
        }
        for _ in 0..times {
            alice.stop(3, 2);
        }
        for _ in 0..times {
            alice.heartbeat(4, 4);
        }
    }
    assert_eq!(once.account, twice.account);
}
