//! Tests of rules version 1, by which older logs go on.

use super::*;

fn old() -> Alice {
    Alice::with(|s| s.rules = Rules::V1.number())
}

#[test]
fn metadata_of_a_heartbeat_replaces_all_by_rules_1() {
    let mut alice = old();
    alice.open(0, &with(1, &[("device", "tv"), ("kind", "live")]));
    alice.beat_with(1, 1, &[("kind", "vod")]);
    assert_eq!(alice.only(1, 1).metadata, pairs(&[("kind", "vod")]));
    alice.beat_with(2, 1, &[]);
    assert_eq!(alice.only(2, 1).metadata, Metadata::default());
}

#[test]
fn an_admitted_stream_is_opened_twice_by_rules_1() {
    let mut alice = old();
    alice.heartbeat(1, 1);
    alice.open(2, &request(1));
    let twice = [(1, events::opened(1, false)), (1, events::opened(1, true))];
    assert_eq!(alice.kinds(), twice);
}

#[test]
fn rules_1_name_no_successor_and_no_reason() {
    let mut alice = old();
    alice.open(0, &request(1));
    alice.open(0, &replacing(&[1], request(2)));
    alice.events.clear();
    let stop = Stop {
        reason: Some(GivenReason::new("bye")),
        ..Stop::of(id(2))
    };
    alice.stop_by(1, &stop);
    assert_eq!(alice.kinds(), [(2, events::stopped(0))]);
    for (n, reason) in [(1, StoppedReason::Replaced), (2, StoppedReason::Stopped)] {
        assert_eq!(alice.heartbeat(2, n), stays(reason));
    }
}

#[test]
fn rules_1_store_a_refusal_for_30_seconds_and_have_no_age() {
    let mut alice = old();
    alice.settings.partitions = 4;
    alice.settings.max_stream_age_ms = TTL;
    alice.open(0, &request(1));
    for at in (0..=3 * TTL).step_by(30_000) {
        assert_eq!(alice.heartbeat(at, 1), REFRESHED);
    }
    let at = 3 * TTL;
    let open = at_most(1, request(2));
    assert_eq!(alice.open(at, &open), MAX_ACTIVE);
    alice.stop(at, 1);
    let repeated = remembered(RefusedReason::MaxActive);
    assert_eq!(alice.open(at + 29_999, &open), repeated);
    assert_eq!(alice.open(at + 30_000, &open), OPENED);
}

#[test]
fn a_log_keeps_its_streams_under_new_rules() {
    let mut alice = old();
    alice.open(0, &with(1, &[("device", "tv")]));
    alice.heartbeat(0, 2);
    alice.settings.rules = Rules::V2.number();
    alice.beat_with(1, 1, &[("kind", "vod")]);
    let merged = pairs(&[("device", "tv"), ("kind", "vod")]);
    assert_eq!(alice.activity(1)[0].metadata, merged);
    alice.events.clear();
    assert_eq!(alice.open(2, &at_most(2, request(2))), OPENED);
    assert_eq!(alice.kinds(), [(2, events::admitted(0))]);
    alice.settings.max_stream_age_ms = TTL;
    assert_eq!(
        alice.heartbeat(TTL + 1_000, 1),
        stays(StoppedReason::TooOld)
    );
}
