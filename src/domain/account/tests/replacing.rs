//! Tests of streams that another one replaces.

use super::*;
use crate::domain::OnLimit;

#[test]
fn replacing_stops_the_named_streams_in_the_same_step() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.open(0, &request(2));
    assert_eq!(
        alice.open(1, &at_most(2, replacing(&[1], request(3)))),
        opened_for(&[1])
    );
    assert_eq!(alice.active(1), [2, 3]);
    let replaced = stays(StoppedReason::Replaced);
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
    let stopped = stays(StoppedReason::Stopped);
    assert_eq!(alice.heartbeat(0, 1), stopped);
}

#[test]
fn an_init_lists_the_active_streams_that_it_ended() {
    let mut alice = Alice::default();
    for n in [1, 2, 3] {
        alice.open(n, &with(n as u128, &[("device", "tv")]));
    }
    alice.stop(4, 2);
    let open = replacing(&[3, 2, 9, 3], with(4, &[("device", "tv")]));
    let open = on(open, |terms| terms.same.push("device".into()));
    assert_eq!(alice.open(5, &open), opened_for(&[3, 1]));
    assert_eq!(alice.open(6, &open), OPENED, "a repetition ends nothing");
}

#[test]
fn a_reason_of_an_init_reaches_the_streams_it_ends() {
    let mut alice = Alice::default();
    for n in [1, 2] {
        alice.open(0, &request(n));
    }
    let reason = GivenReason::new("moved to the tv").unwrap();
    let open = replacing(&[1], at_most(1, request(3)));
    let open = on(open, |terms| {
        terms.on_limit = OnLimit::ReplaceOldest;
        terms.reason = Some(reason.clone());
    });
    assert_eq!(alice.open(1, &open), opened_for(&[1, 2]));
    let cause = StopCause {
        reason: StoppedReason::Replaced,
        given: Some(reason),
    };
    for n in [1, 2] {
        let stopped = HeartbeatOutcome::Stopped(cause.clone());
        assert_eq!(alice.heartbeat(2, n), stopped);
    }
}

// A field report: "our players are killed by the app store's updater, and come back to `refused`".
#[test]
fn a_restarted_player_takes_its_own_place() {
    let mut alice = Alice::default();
    let player = |n, device: &str| {
        let open = at_most(2, with(n, &[("device", device), ("kind", "live")]));
        on(open, |terms| terms.same.push("device".into()))
    };
    assert_eq!(alice.open(0, &player(1, "tv-1")), OPENED);
    assert_eq!(alice.open(1, &player(2, "phone-7")), OPENED);
    assert_eq!(alice.open(2, &player(3, "tv-1")), opened_for(&[1]));
    assert_eq!(alice.active(2), [2, 3]);
    assert_eq!(alice.open(3, &player(4, "tablet")), MAX_ACTIVE);
    assert_eq!(alice.heartbeat(4, 1), stays(StoppedReason::Replaced));
}

#[test]
fn streams_are_the_same_only_if_they_agree_in_all_keys() {
    let keys = |open| {
        on(open, |terms| {
            terms.same = vec!["app".into(), "device".into()];
        })
    };
    let mut alice = Alice::default();
    for (n, metadata) in [
        (1, &[("device", "tv")][..]),
        (2, &[("device", "tv"), ("app", "1")]),
        (3, &[("device", "tv"), ("app", "2")]),
        (4, &[("device", "tv"), ("app", "2"), ("kind", "vod")]),
        (5, &[]),
    ] {
        alice.open(n, &with(n.into(), metadata));
    }
    assert_eq!(alice.open(6, &keys(with(6, &[("device", "tv")]))), OPENED);
    assert_eq!(alice.open(6, &keys(with(7, &[]))), OPENED);
    let other = keys(with(8, &[("device", "tv"), ("app", "2")]));
    assert_eq!(alice.open(6, &other), opened_for(&[3, 4]));
    assert_eq!(alice.active(6), [1, 2, 5, 6, 7, 8]);
}

#[test]
fn a_refused_init_ends_nothing() {
    let mut alice = Alice::default();
    for (n, device) in [(1, "tv"), (2, "phone"), (3, "tablet")] {
        alice.open(0, &with(n, &[("device", device)]));
    }
    let open = at_most(2, with(4, &[("device", "tv")]));
    let open = on(open, |terms| terms.same.push("device".into()));
    assert_eq!(alice.open(1, &open), MAX_ACTIVE);
    assert_eq!(alice.active(1), [1, 2, 3]);
    // The cap of the account is not a limit of the request: no stream is replaced for it.
    alice.settings.max_streams_per_account = 2;
    let open = on(by(9, at_most(5, request(5))), |terms| {
        terms.on_limit = OnLimit::ReplaceOldest;
    });
    assert_eq!(alice.open(2, &open), ACCOUNT_CAP);
    assert_eq!(alice.active(2), [1, 2, 3]);
}
