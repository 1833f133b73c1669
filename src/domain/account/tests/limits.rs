//! Tests of limits by metadata.

use super::*;
use crate::domain::{Condition, Limit, OnLimit};

pub(super) fn of_kind(kinds: &[&str], max: u32) -> Limit {
    Limit {
        conditions: vec![condition("kind", kinds)],
        ..Limit::of_all(max)
    }
}

pub(super) fn of_devices(max: u32) -> Limit {
    Limit {
        distinct: Some("device".into()),
        ..Limit::of_all(max)
    }
}

fn condition(key: &str, values: &[&str]) -> Condition {
    Condition {
        key: key.into(),
        values: values.iter().map(|value| (*value).into()).collect(),
    }
}

/// A proposal for stream `n` with these limits.
fn limited<const N: usize>(n: u128, metadata: &[(&str, &str)], limits: [Limit; N]) -> Open {
    on(with(n, metadata), |terms| terms.limits = limits.into())
}

/// A proposal for stream `n` that ends the oldest streams to keep these limits.
fn fifo<const N: usize>(n: u128, metadata: &[(&str, &str)], limits: [Limit; N]) -> Open {
    on(limited(n, metadata, limits), |terms| {
        terms.on_limit = OnLimit::ReplaceOldest;
    })
}

/// An account with one stream for each of these devices, numbered from 1.
fn playing_on(devices: &[&str]) -> Alice {
    let mut alice = Alice::default();
    for (n, device) in (1..).zip(devices) {
        alice.open(n, &with(n.into(), &[("device", device)]));
    }
    alice
}

#[test]
fn one_limit_of_all_is_the_long_form_of_max_active() {
    let mut alice = playing_on(&["tv", "phone"]);
    for max in 1..5 {
        let n = u128::from(max) + 10;
        let mut twin = Alice {
            account: alice.account.clone(),
            ..Alice::default()
        };
        let short = alice.open(3, &at_most(max, request(n)));
        let long = twin.open(3, &limited(n, &[], [Limit::of_all(max)]));
        assert_eq!(short == OPENED, long == OPENED, "at most {max}");
        assert_eq!(alice.active(3), twin.active(3));
    }
}

// A field report: "the home page plays a trailer, and the third viewer of the family is refused".
#[test]
fn trailers_do_not_use_up_a_live_limit() {
    let mut alice = Alice::default();
    let play = |n, kind: &str| limited(n, &[("kind", kind)], [of_kind(&["live"], 2)]);
    for n in [1, 2, 3] {
        assert_eq!(alice.open(0, &play(n, "trailer")), OPENED);
    }
    for n in [4, 5] {
        assert_eq!(alice.open(1, &play(n, "live")), OPENED);
    }
    assert_eq!(alice.open(2, &play(6, "live")), LIMITS);
    assert_eq!(alice.open(2, &play(7, "trailer")), OPENED);
    assert_eq!(alice.active(2), [1, 2, 3, 4, 5, 7]);
}

// A field report: "a paused film on the bedroom's tv blocks the living room".
#[test]
fn paused_streams_do_not_count_toward_a_limit_of_playing_ones() {
    let mut alice = Alice::default();
    let playing = || Limit {
        conditions: vec![condition("state", &["playing", "buffering"])],
        ..Limit::of_all(1)
    };
    let play = |n| limited(n, &[("state", "playing")], [playing()]);
    alice.open(0, &play(1));
    assert_eq!(alice.open(1, &play(2)), LIMITS);
    alice.beat_with(2, 1, &[("state", "paused")]);
    assert_eq!(alice.open(3, &play(3)), OPENED);
    assert_eq!(alice.active(3), [1, 3]);
}

#[test]
fn all_conditions_of_a_limit_must_hold_with_any_of_their_values() {
    let limit = || Limit {
        conditions: vec![
            condition("kind", &["live", "vod"]),
            condition("4k", &["true", "1"]),
        ],
        ..Limit::of_all(1)
    };
    let mut alice = Alice::default();
    let play = |n, metadata: &[(&str, &str)]| limited(n, metadata, [limit()]);
    assert_eq!(
        alice.open(0, &play(1, &[("kind", "live"), ("4k", "true")])),
        OPENED
    );
    for (n, metadata) in [
        (2, &[("kind", "live")][..]),
        (3, &[("kind", "live"), ("4k", "false")]),
        (4, &[("kind", "trailer"), ("4k", "true")]),
        (5, &[]),
    ] {
        assert_eq!(
            alice.open(1, &play(n, metadata)),
            OPENED,
            "does not apply to {n}"
        );
    }
    assert_eq!(
        alice.open(2, &play(6, &[("kind", "vod"), ("4k", "1")])),
        LIMITS
    );
}

// A field report: "picture in picture is one device, and must not count twice".
#[test]
fn streams_of_one_device_count_once() {
    let mut alice = playing_on(&["tv", "tv", "phone"]);
    let play = |n, device: &str| limited(n, &[("device", device)], [of_devices(2)]);
    assert_eq!(alice.open(3, &play(4, "phone")), OPENED);
    assert_eq!(alice.open(3, &play(5, "tv")), OPENED);
    assert_eq!(alice.open(3, &play(6, "tablet")), LIMITS);
}

#[test]
fn a_stream_without_the_key_is_a_device_of_its_own() {
    let mut alice = Alice::default();
    for n in [1, 2] {
        assert_eq!(alice.open(0, &limited(n, &[], [of_devices(3)])), OPENED);
    }
    let tv = |n| limited(n, &[("device", "tv")], [of_devices(3)]);
    assert_eq!(alice.open(1, &tv(3)), OPENED);
    assert_eq!(alice.open(1, &tv(4)), OPENED, "the same device");
    assert_eq!(alice.open(1, &limited(5, &[], [of_devices(3)])), LIMITS);
}

#[test]
fn an_account_above_a_limit_gets_no_further_stream_on_a_known_device_either() {
    let mut alice = playing_on(&["tv", "phone", "tablet"]);
    assert_eq!(
        alice.open(3, &limited(4, &[("device", "tv")], [of_devices(2)])),
        LIMITS
    );
}

#[test]
fn every_limit_must_hold() {
    let limits = || {
        let devices = of_devices(2);
        let live = of_kind(&["live"], 1);
        [Limit::of_all(3), devices, live]
    };
    let play =
        |n, device: &str, kind: &str| limited(n, &[("device", device), ("kind", kind)], limits());
    let mut alice = Alice::default();
    assert_eq!(alice.open(0, &play(1, "tv", "live")), OPENED);
    assert_eq!(alice.open(0, &play(2, "phone", "live")), LIMITS, "live");
    assert_eq!(alice.open(0, &play(3, "phone", "vod")), OPENED);
    assert_eq!(alice.open(0, &play(4, "tablet", "vod")), LIMITS, "devices");
    assert_eq!(alice.open(0, &play(5, "tv", "vod")), OPENED);
    assert_eq!(alice.open(0, &play(6, "tv", "vod")), LIMITS, "all");
}

#[test]
fn a_stream_that_a_heartbeat_began_is_judged_by_its_metadata() {
    let mut alice = Alice::default();
    alice.open(0, &with(1, &[("kind", "live")]));
    alice.beat_with(0, 2, &[("kind", "live")]);
    let late = |request, metadata| by(request, limited(2, metadata, [of_kind(&["live"], 1)]));
    assert_eq!(alice.open(1, &late(10, &[])), LIMITS);
    assert_eq!(alice.open(1, &late(11, &[("kind", "trailer")])), OPENED);
    assert_eq!(alice.activity(1)[1].metadata, pairs(&[("kind", "trailer")]));
}

#[test]
fn a_retry_is_not_decided_again() {
    let mut alice = Alice::default();
    let open = limited(1, &[("kind", "live")], [of_kind(&["live"], 1)]);
    assert_eq!(alice.open(0, &open), OPENED);
    alice.open(1, &with(2, &[("kind", "live")]));
    assert_eq!(alice.open(2, &open), OPENED);
    assert_eq!(alice.active(2), [1, 2]);
}

#[test]
fn the_oldest_streams_end_and_no_more_than_needed() {
    let mut alice = playing_on(&["a", "b", "c", "d"]);
    assert_eq!(alice.open(5, &fifo(5, &[], [Limit::of_all(5)])), OPENED);
    assert_eq!(
        alice.open(6, &fifo(6, &[], [Limit::of_all(5)])),
        opened_for(&[1])
    );
    assert_eq!(
        alice.open(7, &fifo(7, &[], [Limit::of_all(3)])),
        opened_for(&[2, 3, 4])
    );
    assert_eq!(alice.active(7), [5, 6, 7]);
}

#[test]
fn the_oldest_is_the_first_in_the_log_even_within_a_tick() {
    let mut alice = Alice::default();
    for n in [9, 3, 7] {
        alice.open(0, &request(n));
    }
    assert_eq!(alice.active(0), [9, 3, 7]);
    let open = fifo(1, &[], [Limit::of_all(2)]);
    assert_eq!(alice.open(0, &open), opened_for(&[9, 3]));
}

#[test]
fn only_streams_in_the_way_are_replaced() {
    let mut alice = Alice::default();
    for (n, kind) in [(1, "vod"), (2, "live"), (3, "vod"), (4, "live")] {
        alice.open(n, &with(n.into(), &[("kind", kind)]));
    }
    let open = fifo(5, &[("kind", "live")], [of_kind(&["live"], 2)]);
    assert_eq!(alice.open(5, &open), opened_for(&[2]));
    assert_eq!(alice.active(5), [1, 3, 4, 5]);
}

#[test]
fn a_stream_in_two_limits_ends_instead_of_two_streams() {
    let mut alice = Alice::default();
    alice.open(1, &with(1, &[("kind", "vod")]));
    alice.open(2, &with(2, &[("kind", "live")]));
    let open = fifo(
        3,
        &[("kind", "live")],
        [Limit::of_all(2), of_kind(&["live"], 1)],
    );
    assert_eq!(alice.open(3, &open), opened_for(&[2]));
}

#[test]
fn the_oldest_device_whose_end_makes_room_is_ended() {
    // The tv has the oldest and the youngest stream: its end would take two.
    let mut alice = playing_on(&["tv", "phone", "tv"]);
    let tablet = |n| fifo(n, &[("device", "tablet")], [of_devices(2)]);
    assert_eq!(alice.open(4, &tablet(4)), opened_for(&[2]));
    let mut bob = playing_on(&["tv", "phone", "tv", "phone"]);
    assert_eq!(bob.open(5, &tablet(5)), opened_for(&[1, 3]));
    assert_eq!(bob.active(5), [2, 4, 5]);
    let mut carol = playing_on(&["tv", "tv"]);
    assert_eq!(carol.open(3, &tablet(3)), OPENED);
}

#[test]
fn the_streams_of_the_new_device_stay_when_another_device_ends() {
    let mut alice = playing_on(&["tablet", "tv", "phone"]);
    let open = fifo(4, &[("device", "tablet")], [of_devices(1)]);
    assert_eq!(alice.open(4, &open), opened_for(&[2, 3]));
    assert_eq!(alice.active(4), [1, 4]);
}

#[test]
fn streams_that_end_anyway_make_room() {
    let mut alice = playing_on(&["a", "b", "tv"]);
    let open = fifo(4, &[("device", "tv")], [Limit::of_all(3)]);
    let open = on(open, |terms| terms.same.push("device".into()));
    assert_eq!(alice.open(4, &open), opened_for(&[3]));
    let open = replacing(&[2], fifo(5, &[("device", "c")], [Limit::of_all(3)]));
    assert_eq!(alice.open(5, &open), opened_for(&[2]));
    assert_eq!(alice.active(5), [1, 4, 5]);
}

#[test]
fn a_replaced_stream_needs_no_capacity_of_a_full_partition() {
    let mut alice = playing_on(&["tv"]);
    alice.full = true;
    let second = fifo(2, &[], [Limit::of_all(2)]);
    assert_eq!(alice.open(2, &second), OVER_CAPACITY);
    let in_its_place = by(9, fifo(2, &[], [Limit::of_all(1)]));
    assert_eq!(alice.open(2, &in_its_place), opened_for(&[1]));
}

#[test]
fn an_account_of_many_streams_and_devices_is_counted_exactly() {
    let mut alice = Alice::with(|s| s.max_streams_per_account = 1_000);
    for n in 0..600_u64 {
        let device = (n % 200).to_string();
        alice.open(n, &with(n.into(), &[("device", &device)]));
    }
    let new = |n, max| limited(n, &[("device", "new")], [of_devices(max)]);
    assert_eq!(alice.open(700, &new(1_000, 200)), LIMITS);
    assert_eq!(alice.open(700, &new(1_001, 201)), OPENED);
    let open = fifo(1_002, &[("device", "newer")], [of_devices(1)]);
    let OpenOutcome::Opened { replaced } = alice.open(701, &open) else {
        panic!("it replaces all");
    };
    assert_eq!(replaced.len(), 601);
    assert_eq!(alice.active(701), [1_002]);
}
