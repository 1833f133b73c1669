//! Tests of stored refusals, and of the fields of a refusal.

use super::*;
use crate::domain::{Conflict, Limit, Refused};

/// The time for which a refusal is stored, by the default settings.
const STORED: u64 = 30_000;

#[test]
fn a_refusal_is_stored_for_its_request_for_thirty_seconds() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    let refused = at_most(1, request(2));
    assert_eq!(alice.open(0, &refused), MAX_ACTIVE);
    alice.stop(1, 1);
    let repeated = remembered(RefusedReason::MaxActive);
    assert_eq!(alice.open(STORED - 1, &refused), repeated);
    assert_eq!(alice.active(STORED - 1), [] as [u128; 0]);
    assert_eq!(alice.open(STORED - 1, &by(9, refused.clone())), OPENED);
    alice.stop(STORED - 1, 2);
    assert_eq!(alice.open(STORED, &refused), STOPPED, "decided afresh");
}

#[test]
fn a_refusal_repeated_does_not_last_longer() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    let refused = at_most(1, request(2));
    alice.open(0, &refused);
    alice.open(20_000, &refused);
    alice.stop(20_000, 1);
    assert_eq!(alice.open(STORED, &refused), OPENED);
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
    let repeated = remembered(RefusedReason::MaxActive);
    assert_eq!(alice.open(3, &request(3)), repeated);
    assert_eq!(alice.open(3, &request(5)), repeated);
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

impl Alice {
    /// Decides a proposal, and describes its refusal.
    fn refusal(&mut self, at: u64, open: &Open) -> Refused {
        let outcome = self.open(at, open);
        let OpenOutcome::Refused {
            reason,
            is_remembered,
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        self.judge(at, |account, moment, _| {
            account.describe_refusal(moment, open, reason, is_remembered)
        })
    }
}

fn conflict(limit: usize, streams: &[u128]) -> Conflict {
    Conflict {
        limit,
        streams: streams.iter().copied().map(id).collect(),
    }
}

#[test]
fn a_refusal_lists_the_conflicts_of_each_broken_limit() {
    let mut alice = Alice::default();
    for (n, kind) in [(1, "live"), (2, "vod"), (3, "live"), (4, "trailer")] {
        alice.open(n, &with(n.into(), &[("kind", kind)]));
    }
    let open = on(with(5, &[("kind", "live")]), |terms| {
        let of = |kind: &str, max| limits::of_kind(&[kind], max);
        terms.limits = vec![
            of("live", 2),
            of("vod", 1),
            Limit::of_all(9),
            Limit::of_all(4),
        ];
    });
    let refusal = alice.refusal(5, &open);
    assert_eq!(refusal.reason, RefusedReason::Limits);
    let expected = [conflict(0, &[1, 3]), conflict(3, &[1, 2, 3, 4])];
    assert_eq!(refusal.conflicts, expected);
    assert_eq!(
        (refusal.is_remembered, refusal.retry_after_ms),
        (false, None)
    );
    // Of `max_active`, too.
    let refusal = alice.refusal(6, &at_most(1, replacing(&[2], request(6))));
    assert_eq!(refusal.conflicts, [conflict(0, &[1, 3, 4])]);
    assert_eq!(refusal.max_active, Some(1));
}

#[test]
fn streams_with_the_new_device_are_no_conflict_of_a_limit_of_devices() {
    let mut alice = Alice::default();
    for (n, device) in [(1, "tv"), (2, "phone"), (3, "tv")] {
        alice.open(n, &with(n.into(), &[("device", device)]));
    }
    let open = on(with(4, &[("device", "tv")]), |terms| {
        terms.limits = vec![limits::of_devices(1)];
    });
    assert_eq!(alice.refusal(4, &open).conflicts, [conflict(0, &[2])]);
}

#[test]
fn the_listed_conflicts_are_bounded() {
    let mut alice = Alice::with(|s| s.max_streams_per_account = 1_000);
    for n in 1..=150 {
        alice.open(n, &request(n.into()));
    }
    let conflicts = alice.refusal(200, &at_most(1, request(1_000))).conflicts;
    let oldest: Vec<u128> = (1..=100).collect();
    assert_eq!(conflicts, [conflict(0, &oldest)]);
}

#[test]
fn a_remembered_refusal_is_marked_and_states_its_end() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    let open = at_most(1, request(2));
    assert_eq!(alice.refusal(1_000, &open).retry_after_ms, None);
    alice.stop(2_000, 1);
    let refusal = alice.refusal(5_000, &open);
    assert!(refusal.is_remembered);
    assert_eq!(refusal.retry_after_ms, Some(STORED - 4_000));
    assert_eq!(refusal.conflicts, [], "there is room by now");
    assert_eq!(alice.open(1_000 + STORED, &open), OPENED);
}

#[test]
fn the_refusal_of_a_stopped_stream_states_how_long_it_stays_stopped() {
    let mut alice = Alice::default();
    alice.stop(0, 1);
    let refusal = alice.refusal(10_000, &request(1));
    assert_eq!(refusal.reason, RefusedReason::Stopped);
    assert_eq!(refusal.retry_after_ms, Some(TTL - 10_000));
    // The longer of the tombstone and the stored refusal.
    let repeated = alice.refusal(15_000, &request(1));
    assert!(repeated.is_remembered);
    assert_eq!(repeated.retry_after_ms, Some(TTL - 15_000));
    assert_eq!(alice.open(TTL, &request(1)), OPENED);
}

#[test]
fn a_refusal_for_tombstones_states_when_there_is_room() {
    let mut alice = Alice::with(|s| {
        s.max_tombstones_per_account = 3;
        s.max_streams_per_account = 2;
    });
    for n in [1, 2] {
        alice.stop(n * 1_000, n.into());
    }
    alice.open(3_000, &request(3));
    let refusal = alice.refusal(4_000, &request(4));
    assert_eq!(refusal.reason, RefusedReason::AccountCap);
    assert_eq!(refusal.retry_after_ms, Some(TTL - 3_000));
    // The longer of that and the stored refusal.
    let refusal = alice.refusal(TTL - 10_000, &request(5));
    assert_eq!(refusal.retry_after_ms, Some(STORED));
    // After the cap was lowered, more tombstones must expire.
    alice.settings.max_tombstones_per_account = 2;
    let refusal = alice.refusal(TTL - 10_000, &request(6));
    assert_eq!(refusal.retry_after_ms, Some(STORED));
    let refusal = alice.refusal(5_000, &request(7));
    assert_eq!(refusal.retry_after_ms, Some(TTL - 3_000));
    assert_eq!(alice.open(TTL + 2_000, &request(7)), OPENED);
}

#[test]
fn waiting_does_not_help_against_active_streams() {
    let mut alice = Alice::with(|s| {
        s.max_tombstones_per_account = 3;
        s.max_streams_per_account = 2;
    });
    alice.stop(0, 1);
    alice.open(0, &request(2));
    alice.open(0, &request(3));
    let refusal = alice.refusal(0, &request(4));
    assert_eq!(refusal.reason, RefusedReason::AccountCap);
    assert_eq!(refusal.retry_after_ms, None);
    // A stream that replaces another awaits the tombstone alone.
    let refusal = alice.refusal(0, &replacing(&[2], request(5)));
    assert_eq!(refusal.reason, RefusedReason::AccountCap);
    assert_eq!(refusal.retry_after_ms, Some(TTL));
    alice.settings.max_tombstones_per_account = 2;
    let refusal = alice.refusal(0, &replacing(&[2], request(6)));
    assert_eq!(refusal.retry_after_ms, None);
}

#[test]
fn a_copy_in_the_queue_cannot_be_opened_after_its_player_was_refused() {
    // With several partitions, the copy may wait 10 s in the intake and 10 s in its queue, and be
    // proposed for 10 s, after the player sent it, 10 s after the decision.
    let mut alice = Alice::with(|s| s.partitions = 4);
    alice.open(0, &request(1));
    let open = at_most(1, request(2));
    assert_eq!(alice.open(0, &open), MAX_ACTIVE);
    alice.stop(1, 1);
    assert_eq!(
        alice.open(39_999, &open),
        remembered(RefusedReason::MaxActive)
    );
    assert_eq!(alice.open(40_000, &open), OPENED);
}
