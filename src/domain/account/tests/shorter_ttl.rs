//! Tests of changes of the TTL while streams are active.

use super::*;

const SHORT: u64 = 10_000;
/// The deadline by the shorter TTL: 10 s and two intervals of 0.5 s.
const SHORT_DEADLINE: u64 = 11_000;

/// Two streams that were sent a TTL of 90 s and an interval of 30 s, before 10 s and 3 s are set.
fn shortened() -> Alice {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.open(0, &request(2));
    alice.settings.ttl_ms = SHORT;
    alice.settings.heartbeat_every_ms = 3_000;
    alice
}

#[test]
fn a_stream_keeps_a_longer_ttl_until_its_player_names_the_new_interval() {
    let mut alice = shortened();
    for at in [30_000, 60_000] {
        assert_eq!(alice.active(at), [1, 2]);
        assert_eq!(alice.beat_every(at, 1, 30_000), OUTDATED);
        assert_eq!(alice.heartbeat(at, 2), OUTDATED);
    }
    assert_eq!(
        alice.beat_every(61_000, 1, 3_000),
        OUTDATED,
        "for the last time"
    );
    assert_eq!(alice.beat_every(64_000, 1, 3_000), REFRESHED);
    let first = 64_000 + SHORT_DEADLINE;
    assert_eq!(alice.active(first - 1), [1, 2]);
    assert_eq!(alice.active(first), [2]);
    assert_eq!(alice.state(first + SHORT - 1, 1), StreamState::Expired);
    assert_eq!(alice.state(first + SHORT, 1), StreamState::Unknown);
    assert_eq!(alice.active(60_000 + DEADLINE - 1), [2]);
    assert_eq!(alice.active(60_000 + DEADLINE), [] as [u128; 0]);
}

#[test]
fn a_repeated_init_applies_the_new_ttl() {
    let mut alice = shortened();
    alice.open(1_000, &request(1));
    assert_eq!(alice.active(1_000 + SHORT_DEADLINE), [2]);
}

#[test]
fn a_longer_ttl_takes_effect_at_once_and_the_player_is_notified() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.settings.ttl_ms = 2 * TTL;
    assert_eq!(alice.heartbeat(1_000, 1), OUTDATED);
    assert_eq!(alice.active(1_000 + 2 * TTL), [1]);
    assert_eq!(alice.heartbeat(2_000, 1), REFRESHED);
    alice.settings.heartbeat_every_ms = 60_000;
    assert_eq!(
        alice.beat_every(3_000, 1, 30_000),
        OUTDATED,
        "until it uses the new interval"
    );
    assert_eq!(alice.beat_every(4_000, 1, 30_000), OUTDATED);
    assert_eq!(alice.beat_every(5_000, 1, 60_000), REFRESHED);
}

#[test]
fn the_heartbeat_of_a_new_stream_is_outdated_only_with_another_interval() {
    let mut alice = shortened();
    let outdated = HeartbeatOutcome::Started {
        outdated: true,
        metadata: MetadataOutcome::Kept,
    };
    assert_eq!(alice.beat_every(0, 3, 30_000), outdated);
    assert_eq!(alice.beat_every(0, 4, 3_000), STARTED);
    assert_eq!(alice.heartbeat(0, 5), STARTED);
    assert_eq!(alice.active(SHORT_DEADLINE), [1, 2]);
}

#[test]
fn a_longer_ttl_does_not_resurrect_an_expired_stream() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.settings.ttl_ms = 2 * TTL;
    assert_eq!(alice.state(DEADLINE, 1), StreamState::Expired);
    assert_eq!(alice.heartbeat(DEADLINE, 1), STARTED);
    assert_eq!(alice.active(DEADLINE + 2 * TTL), [1]);
}

#[test]
fn a_stopped_stream_stays_stopped_for_the_ttl_that_its_player_was_sent() {
    let mut alice = shortened();
    alice.stop(0, 1);
    alice.stop(0, 9);
    for at in [30_000, 100_000, 189_999] {
        let stopped = stays(StoppedReason::Stopped);
        assert_eq!(alice.heartbeat(at, 1), stopped, "at {at}");
    }
    assert_eq!(alice.state(189_999 + TTL - 1, 1), StreamState::Stopped);
    // An inactive stream was sent no TTL: 20 s, while its `init` may be in transit.
    assert_eq!(alice.state(19_999, 9), StreamState::Stopped);
    assert_eq!(alice.state(20_000, 9), StreamState::Unknown);
}
