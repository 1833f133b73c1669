//! Tests of the maximum age of streams.

use super::*;

const MAX_AGE: u64 = 4 * 3_600_000;

fn limited() -> Alice {
    Alice::with(|s| s.max_stream_age_ms = MAX_AGE)
}

impl Alice {
    /// Sends heartbeats of a stream from one moment to another.
    fn plays(&mut self, n: u128, from: u64, until: u64) {
        for at in (from..=until).step_by(30_000) {
            assert_eq!(self.heartbeat(at, n), REFRESHED, "at {at}");
        }
    }
}

fn too_old(last_seen: u64) -> LifecycleEventKind {
    LifecycleEventKind::Expired {
        started_at: WallTime(0),
        last_seen: WallTime(last_seen.cast_signed()),
        cause: ExpiryCause::TooOld,
    }
}

// A field report: "a tv in a shop window has been playing since spring".
#[test]
fn a_stream_that_is_too_old_expires_and_does_not_come_back() {
    let mut alice = limited();
    alice.open(0, &request(1));
    alice.plays(1, 30_000, MAX_AGE);
    alice.events.clear();
    let after = MAX_AGE + 30_000;
    assert_eq!(alice.heartbeat(after, 1), stays(StoppedReason::TooOld));
    assert_eq!(alice.kinds(), [(1, too_old(MAX_AGE))]);
    assert_eq!(alice.state(after, 1), StreamState::Stopped);
    for at in (after..after + 3 * TTL).step_by(30_000) {
        assert_eq!(alice.heartbeat(at, 1), stays(StoppedReason::TooOld));
    }
    assert_eq!(alice.open(after + 3 * TTL, &by(9, request(1))), STOPPED);
    assert_eq!(alice.events.len(), 1, "only the refusal");
}

#[test]
fn a_stream_that_is_too_old_blocks_no_other() {
    let mut alice = limited();
    alice.open(0, &request(1));
    alice.plays(1, 30_000, MAX_AGE);
    assert_eq!(alice.open(MAX_AGE, &at_most(1, request(2))), MAX_ACTIVE);
    alice.events.clear();
    let open = by(9, at_most(1, request(2)));
    assert_eq!(
        alice.open(MAX_AGE + 1, &open),
        OPENED,
        "it has not replaced the old one"
    );
    let opened = events::opened(MAX_AGE.cast_signed() + 1, true);
    assert_eq!(alice.kinds(), [(1, too_old(MAX_AGE)), (2, opened)]);
    assert_eq!(
        alice.heartbeat(MAX_AGE + 2, 1),
        stays(StoppedReason::TooOld)
    );
}

#[test]
fn a_retry_of_a_stream_that_is_too_old_is_refused() {
    let mut alice = limited();
    alice.open(0, &request(1));
    alice.plays(1, 30_000, MAX_AGE);
    assert_eq!(alice.open(MAX_AGE + 1, &by(9, request(1))), STOPPED);
}

#[test]
fn neither_an_init_nor_its_retry_makes_a_stream_young() {
    let mut alice = limited();
    assert_eq!(alice.heartbeat(0, 1), STARTED);
    alice.plays(1, 30_000, MAX_AGE - 1_000);
    assert_eq!(alice.open(MAX_AGE - 900, &request(1)), OPENED);
    assert_eq!(alice.open(MAX_AGE - 800, &by(9, request(1))), OPENED);
    let after = MAX_AGE + 1_000;
    assert_eq!(alice.heartbeat(after, 1), stays(StoppedReason::TooOld));
}

#[test]
fn a_stream_that_expires_and_begins_again_is_young() {
    let mut alice = limited();
    alice.open(0, &request(1));
    let again = MAX_AGE - 1_000;
    assert_eq!(alice.heartbeat(again, 1), STARTED);
    alice.plays(1, again, again + MAX_AGE);
}

#[test]
fn a_new_maximum_age_applies_to_running_streams_and_0_is_none() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.plays(1, 30_000, 3 * MAX_AGE);
    alice.settings.max_stream_age_ms = MAX_AGE;
    assert_eq!(
        alice.heartbeat(3 * MAX_AGE + 1, 1),
        stays(StoppedReason::TooOld)
    );
}
