//! Tests of lifecycle events.

use super::*;

impl Alice {
    pub(super) fn kinds(&mut self) -> Vec<(u128, LifecycleEventKind)> {
        let events = self.events.drain(..);
        events.map(|f| (f.stream.0.as_u128(), f.kind)).collect()
    }

    pub(super) fn time_passes(&mut self, before: u64, now: u64) {
        let (before, now) = (LogTime(before), LogTime(now));
        let shift = WallShift::default();
        self.account.expired(before, now, shift, &mut self.events);
        self.account.sweep(now);
    }
}

pub(super) const fn opened(at: i64, admitted: bool) -> LifecycleEventKind {
    LifecycleEventKind::Opened {
        admitted,
        started_at: WallTime(at),
    }
}

pub(super) const fn admitted(at: i64) -> LifecycleEventKind {
    LifecycleEventKind::Admitted {
        started_at: WallTime(at),
    }
}

pub(super) const fn stopped(at: i64) -> LifecycleEventKind {
    LifecycleEventKind::Stopped {
        reason: StoppedReason::Stopped,
        started_at: WallTime(at),
        successor: None,
        given: None,
    }
}

pub(super) fn replaced_by(successor: u128, at: i64) -> LifecycleEventKind {
    LifecycleEventKind::Stopped {
        reason: StoppedReason::Replaced,
        started_at: WallTime(at),
        successor: Some(id(successor)),
        given: None,
    }
}

#[test]
fn an_event_is_emitted_when_it_happens_and_not_again() {
    let mut alice = Alice::default();
    alice.heartbeat(1, 1);
    alice.heartbeat(2, 1);
    assert_eq!(alice.kinds(), [(1, opened(1, false))]);
    alice.open(3, &request(1));
    alice.open(4, &request(1));
    assert_eq!(alice.kinds(), [(1, admitted(1))], "it has been opened");
    alice.stop(5, 1);
    alice.stop(6, 1);
    alice.heartbeat(7, 1);
    assert_eq!(alice.kinds(), [(1, stopped(1))]);
    alice.stop(8, 9);
    assert_eq!(alice.kinds(), []);
}

#[test]
fn a_refusal_is_emitted_once_and_replaces_no_stream() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.events.clear();
    let refused = at_most(1, request(2));
    alice.open(1, &refused);
    alice.open(2, &refused);
    let reason = RefusedReason::MaxActive;
    let max_active = Some(1);
    assert_eq!(
        alice.kinds(),
        [(2, LifecycleEventKind::Refused { reason, max_active })]
    );
    alice.open(3, &replacing(&[1, 8], at_most(1, by(7, request(2)))));
    let expected = [(1, replaced_by(2, 0)), (2, opened(3, true))];
    assert_eq!(alice.kinds(), expected);
}

#[test]
fn an_expiry_is_emitted_at_the_moment_that_reaches_the_deadline() {
    let mut alice = Alice::default();
    alice.heartbeat(0, 1);
    alice.events.clear();
    alice.time_passes(DEADLINE - 2, DEADLINE - 1);
    assert_eq!(alice.kinds(), []);
    alice.time_passes(DEADLINE - 1, DEADLINE + 5);
    let expired = LifecycleEventKind::Expired {
        started_at: WallTime(0),
        last_seen: WallTime(0),
        cause: ExpiryCause::Deadline(LogTime(DEADLINE)),
    };
    assert_eq!(alice.kinds(), [(1, expired)]);
    alice.time_passes(DEADLINE + 5, FORGOTTEN);
    assert_eq!(alice.kinds(), []);
}

#[test]
fn a_given_reason_is_in_the_event_of_each_stream_it_ended() {
    let mut alice = Alice::default();
    alice.open(0, &request(1));
    alice.open(0, &request(2));
    alice.events.clear();
    let reason = GivenReason::new("shared password").unwrap();
    let stop = Stop {
        reason: Some(Ok(reason.clone())),
        ..Stop::of(id(1))
    };
    alice.stop_by(1, &stop);
    alice.stop_by(2, &Stop::of_all(Some(reason.clone())));
    let given = |kind: LifecycleEventKind| match kind {
        LifecycleEventKind::Stopped { given, .. } => given,
        kind => panic!("{kind:?}"),
    };
    let events = alice.kinds().into_iter().map(|(n, kind)| (n, given(kind)));
    let expected = [(1, Some(reason.clone())), (2, Some(reason))];
    assert_eq!(events.collect::<Vec<_>>(), expected);
}
