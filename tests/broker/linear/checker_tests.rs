//! Tests of the checker: histories that it accepts and rejects.

use std::time::Duration;

use streamwatch::client::RefusedReason::{self, MaxActive, Stopped};

use super::checker::{Explained, Violation, check};
use super::limits::Limits;
use super::model::{Answer, Call, Event, Operation, Streams};

fn set<const N: usize>(numbers: [usize; N]) -> Streams {
    Streams::of(numbers)
}

const fn init(stream: usize) -> Call {
    limited(Limits::NONE, stream)
}

const fn at_most(max: u32, stream: usize) -> Call {
    limited(Limits::at_most(max), stream)
}

fn replacing<const N: usize>(replace: [usize; N], stream: usize) -> Call {
    Call::Init {
        stream,
        limits: Limits::at_most(1),
        same: false,
        replace: set(replace),
    }
}

const fn limited(limits: Limits, stream: usize) -> Call {
    Call::Init {
        stream,
        limits,
        same: false,
        replace: Streams::NONE,
    }
}

const fn instead_of_its_device(max: u32, stream: usize) -> Call {
    Call::Init {
        stream,
        limits: Limits::at_most(max),
        same: true,
        replace: Streams::NONE,
    }
}

/// A refusal for a limit by metadata.
fn beyond<const N: usize>(numbers: [usize; N]) -> Answer {
    Answer::Refused(RefusedReason::Limits, set(numbers))
}

fn opened<const N: usize>(numbers: [usize; N]) -> Answer {
    opened_for(numbers, [])
}

/// An admission that ended other streams.
fn opened_for<const N: usize, const M: usize>(numbers: [usize; N], ended: [usize; M]) -> Answer {
    Answer::Opened {
        active: set(numbers),
        replaced: set(ended),
    }
}

fn active<const N: usize>(numbers: [usize; N]) -> Answer {
    Answer::Active(set(numbers))
}

/// An operation between two times in milliseconds.
fn done(from: u64, until: u64, call: Call, answer: Answer) -> Operation {
    Operation {
        answered: Some((Duration::from_millis(until), answer)),
        ..pending(from, call)
    }
}

fn pending(from: u64, call: Call) -> Operation {
    Operation {
        client: 0,
        call,
        invoked: Duration::from_millis(from),
        answered: None,
        repeated: false,
    }
}

/// An operation in flight when a worker died.
fn repeated(operation: Operation) -> Operation {
    Operation {
        repeated: true,
        ..operation
    }
}

fn accepted(history: &[Operation]) {
    match check(history) {
        Ok(explained) => assert_eq!(explained, Explained::Atomic),
        Err(violation) => panic!("{violation}"),
    }
}

fn rejected(history: &[Operation]) -> Box<Violation> {
    match check(history) {
        Ok(explained) => panic!("accepted as {explained:?}"),
        Err(violation) => violation,
    }
}

#[test]
fn sequential_operations_are_accepted_with_the_answers_of_the_model() {
    accepted(&[
        done(0, 1, Call::Status, active([])),
        done(2, 3, at_most(2, 0), opened([0])),
        done(4, 5, at_most(2, 0), opened([0])),
        done(6, 7, at_most(2, 1), opened([0, 1])),
        done(8, 9, at_most(2, 2), Answer::Refused(MaxActive, set([0, 1]))),
        done(10, 11, replacing([0, 1], 2), opened_for([2], [0, 1])),
        done(12, 13, init(0), Answer::Refused(Stopped, set([2]))),
        done(14, 15, Call::Stop(3), Answer::Confirmed),
        done(16, 17, init(3), Answer::Refused(Stopped, set([2]))),
        done(18, 19, Call::Status, active([2])),
    ]);
}

#[test]
fn limits_by_metadata_are_those_of_the_model() {
    let devices = |stream| limited(Limits::of_devices(2), stream);
    let live = |stream| limited(Limits::of_live(1), stream);
    // Streams 0 and 4 play on one device; 0 to 3 are trailers, 4 to 11 are live.
    accepted(&[
        done(0, 1, devices(0), opened([0])),
        done(2, 3, devices(4), opened([0, 4])),
        done(4, 5, devices(1), opened([0, 1, 4])),
        done(6, 7, devices(2), beyond([0, 1, 4])),
        done(8, 9, live(5), beyond([0, 1, 4])),
        done(10, 11, live(3), opened([0, 1, 3, 4])),
        done(
            12,
            13,
            instead_of_its_device(4, 8),
            opened_for([1, 3, 8], [0, 4]),
        ),
        done(14, 15, init(0), Answer::Refused(Stopped, set([1, 3, 8]))),
    ]);
    // A stream that a heartbeat started is a device of its own.
    let begun = Call::Batch([Event::Heartbeat(8), Event::Heartbeat(9)]);
    accepted(&[
        done(0, 1, begun, Answer::Confirmed),
        done(2, 3, devices(0), beyond([8, 9])),
        done(4, 5, live(5), opened([5, 8, 9])),
        done(6, 7, instead_of_its_device(9, 4), opened([4, 5, 8, 9])),
    ]);
}

#[test]
fn the_oldest_streams_give_way_and_no_more_than_needed() {
    let oldest = |limits: Limits, stream| {
        let replace_oldest = true;
        let limits = Limits {
            replace_oldest,
            ..limits
        };
        limited(limits, stream)
    };
    let both = Limits {
        devices: Some(2),
        live: Some(1),
        ..Limits::NONE
    };
    let before = |last| {
        [
            done(0, 1, init(5), opened([5])),
            done(2, 3, init(0), opened([0, 5])),
            done(4, 5, init(1), opened([0, 1, 5])),
            last,
        ]
    };
    let fourth = |limits, stream, answer| before(done(6, 7, oldest(limits, stream), answer));
    let at_most = Limits::at_most;
    accepted(&fourth(at_most(3), 2, opened_for([0, 1, 2], [5])));
    accepted(&fourth(at_most(4), 2, opened([0, 1, 2, 5])));
    rejected(&fourth(at_most(3), 2, opened_for([1, 2, 5], [0])));
    rejected(&fourth(at_most(3), 2, opened_for([1, 2], [0, 5])));
    // Stream 1 plays on the device of stream 5: the end of stream 5 alone frees no device.
    accepted(&fourth(
        Limits::of_devices(2),
        2,
        opened_for([1, 2, 5], [0]),
    ));
    // Only a live stream is in the way. Then the end of stream 4 keeps both limits, with one more.
    accepted(&fourth(both, 4, opened_for([0, 1, 4], [5])));
    let beyond_both = [done(8, 9, oldest(both, 6), opened_for([1, 6], [0, 4]))];
    let so_far = fourth(both, 4, opened_for([0, 1, 4], [5]));
    accepted(&[&so_far[..], &beyond_both].concat());
}

#[test]
fn a_violation_of_a_limit_by_metadata_is_rejected() {
    let devices = |stream| limited(Limits::of_devices(1), stream);
    rejected(&[
        done(0, 9, devices(0), opened([0])),
        done(0, 9, devices(1), opened([0, 1])),
    ]);
    rejected(&[
        done(0, 1, devices(0), opened([0])),
        done(2, 3, devices(4), beyond([0])),
    ]);
    rejected(&[
        done(0, 1, init(0), opened([0])),
        done(2, 3, instead_of_its_device(1, 4), opened([0, 4])),
    ]);
}

#[test]
fn concurrent_operations_are_accepted_in_any_order_that_explains_them() {
    accepted(&[
        done(0, 10, init(0), opened([0, 1])),
        done(0, 10, init(1), opened([1])),
        done(1, 9, Call::Status, active([])),
        done(2, 9, Call::Status, active([0, 1])),
    ]);
}

#[test]
fn a_stop_takes_effect_before_its_confirm_and_may_be_seen_before_it() {
    accepted(&[
        done(0, 1, init(0), opened([0])),
        done(2, 9, Call::Stop(0), Answer::Confirmed),
        done(3, 4, Call::Status, active([0])),
        done(5, 6, Call::Status, active([])),
    ]);
}

#[test]
fn the_events_of_a_batch_take_effect_in_order_and_at_one_moment() {
    use Event::{Heartbeat, Stop};
    let switch = Call::Batch([Stop(0), Heartbeat(1)]);
    let around = |seen| {
        [
            done(0, 1, init(0), opened([0])),
            done(2, 9, switch, Answer::Confirmed),
            done(3, 4, Call::Status, seen),
            done(10, 11, Call::Status, active([1])),
        ]
    };
    accepted(&around(active([0])));
    accepted(&around(active([1])));
    rejected(&around(active([0, 1])));
    rejected(&around(active([])));
    let after = |events, seen| {
        [
            done(0, 1, Call::Batch(events), Answer::Confirmed),
            done(2, 3, Call::Status, seen),
        ]
    };
    accepted(&after([Heartbeat(0), Stop(0)], active([])));
    accepted(&after([Stop(0), Heartbeat(0)], active([])));
    rejected(&after([Heartbeat(0), Stop(0)], active([0])));
    rejected(&after([Heartbeat(0), Heartbeat(1)], active([1])));
}

#[test]
fn a_stream_started_by_a_heartbeat_is_decided_against_the_others() {
    accepted(&[
        done(0, 1, init(0), opened([0])),
        done(
            2,
            3,
            Call::Batch([Event::Heartbeat(1), Event::Heartbeat(1)]),
            Answer::Confirmed,
        ),
        done(4, 5, at_most(1, 1), Answer::Refused(MaxActive, set([0, 1]))),
        done(6, 7, at_most(2, 1), opened([0, 1])),
        done(8, 9, at_most(1, 1), opened([0, 1])),
    ]);
}

#[test]
fn an_operation_without_an_answer_may_take_effect_late_or_never() {
    accepted(&[pending(0, init(0)), done(1, 2, Call::Status, active([]))]);
    accepted(&[
        pending(0, init(0)),
        done(1, 2, Call::Status, active([])),
        done(90, 91, Call::Status, active([0])),
        pending(92, Call::Stop(0)),
        done(93, 94, Call::Status, active([0])),
        done(95, 96, Call::Status, active([])),
    ]);
}

#[test]
fn an_operation_without_an_answer_takes_effect_once_and_not_before_its_invocation() {
    rejected(&[
        done(0, 1, Call::Status, active([0])),
        pending(2, init(0)),
        done(3, 4, Call::Status, active([])),
    ]);
    rejected(&[
        pending(0, init(0)),
        done(1, 2, Call::Status, active([0])),
        done(3, 4, Call::Status, active([])),
    ]);
}

#[test]
fn a_stale_read_is_rejected() {
    rejected(&[
        done(0, 1, init(0), opened([0])),
        done(2, 3, Call::Status, active([])),
    ]);
}

#[test]
fn a_lost_stop_is_rejected() {
    rejected(&[
        done(0, 1, init(0), opened([0])),
        done(2, 3, Call::Stop(0), Answer::Confirmed),
        done(4, 5, Call::Status, active([0])),
    ]);
    rejected(&[
        done(0, 1, Call::Stop(0), Answer::Confirmed),
        done(2, 3, init(0), opened([0])),
    ]);
}

#[test]
fn a_double_admission_beyond_the_limit_is_rejected() {
    rejected(&[
        done(0, 9, at_most(1, 0), opened([0])),
        done(0, 9, at_most(1, 1), opened([1])),
    ]);
    rejected(&[
        done(0, 9, at_most(1, 0), opened([0])),
        done(0, 9, at_most(1, 1), opened([0, 1])),
    ]);
}

#[test]
fn two_inits_with_the_same_count_are_rejected() {
    rejected(&[
        done(0, 9, init(0), opened([0, 1])),
        done(0, 9, init(1), opened([0, 1])),
    ]);
}

#[test]
fn a_reordering_against_real_time_is_rejected() {
    // If the operations are concurrent, the checker accepts these answers.
    accepted(&[
        done(0, 4, init(0), opened([0, 1])),
        done(2, 5, init(1), opened([1])),
    ]);
    rejected(&[
        done(0, 1, init(0), opened([0, 1])),
        done(2, 5, init(1), opened([1])),
    ]);
}

#[test]
fn a_refusal_that_replaces_and_a_refusal_without_a_reason_are_rejected() {
    rejected(&[
        done(0, 1, init(0), opened([0])),
        done(2, 3, init(1), opened([0, 1])),
        done(
            4,
            5,
            replacing([0], 2),
            Answer::Refused(MaxActive, set([1])),
        ),
    ]);
    rejected(&[done(
        0,
        1,
        at_most(1, 0),
        Answer::Refused(MaxActive, set([])),
    )]);
}

#[test]
fn an_init_whose_worker_died_may_be_decided_twice_and_is_answered_once() {
    // Both have count two: the first was decided, seen by the second, and answered after a
    // repetition.
    let twice = [
        repeated(done(0, 9, init(0), opened([0, 1]))),
        done(1, 5, init(1), opened([0, 1])),
    ];
    assert_eq!(check(&twice).unwrap(), Explained::Repeated);
    // Refused at the limit, and opened by the repetition, below the limit.
    let refused = [
        done(0, 1, init(0), opened([0])),
        repeated(done(
            2,
            9,
            at_most(1, 1),
            Answer::Refused(MaxActive, set([])),
        )),
        done(6, 7, Call::Stop(0), Answer::Confirmed),
    ];
    assert_eq!(check(&refused).unwrap(), Explained::Repeated);
    // Stopped between the two decisions.
    let stopped = [
        repeated(done(0, 9, init(0), Answer::Refused(Stopped, set([])))),
        done(1, 2, Call::Status, active([0])),
        done(3, 4, Call::Stop(0), Answer::Confirmed),
    ];
    assert_eq!(check(&stopped).unwrap(), Explained::Repeated);
    for history in [&twice[..], &refused, &stopped] {
        let atomic = |o: &Operation| Operation {
            repeated: false,
            ..*o
        };
        rejected(&history.iter().map(atomic).collect::<Vec<_>>());
    }
}

#[test]
fn an_init_that_is_decided_twice_counts_once_and_is_never_unseen() {
    rejected(&[
        repeated(done(0, 9, init(0), opened([0]))),
        done(1, 2, Call::Status, active([0])),
        done(3, 4, Call::Status, active([])),
    ]);
    rejected(&[
        repeated(done(0, 9, at_most(1, 0), opened([0]))),
        repeated(done(0, 9, at_most(1, 1), opened([1]))),
    ]);
}

/// A recorded history of eight clients, each of which reads after each of its changes.
fn recorded() -> Vec<Operation> {
    let mut history = Vec::new();
    let all = |until: usize| Streams::of(0..until);
    let seen = |active| Answer::Opened {
        active,
        replaced: Streams::NONE,
    };
    for client in 0..8 {
        let from = client as u64 * 3;
        let streams = all(client + 1);
        let mut own = [
            done(from, from + 4, at_most(8, client), seen(streams)),
            done(
                from + 5,
                from + 6,
                Call::Status,
                Answer::Active(all((client + 2).min(8))),
            ),
            repeated(done(40, 50, init(client), seen(all(8)))),
            done(60, 80, Call::Stop(client), Answer::Confirmed),
            pending(70, at_most(3, 20 + client)),
        ];
        for operation in &mut own {
            operation.client = client;
        }
        history.extend(own);
    }
    let nobody = || done(90, 91, Call::Status, Answer::Active(Streams::NONE));
    history.extend([nobody(), nobody(), pending(8, Call::Status)]);
    history
}

#[test]
fn one_stale_read_in_a_recorded_history_is_reported_with_its_contradiction() {
    let mut history = recorded();
    accepted(&history);
    let read = history
        .iter()
        .position(|o| o.client == 5 && o.call == Call::Status);
    let read = &mut history[read.expect("client 5 asks")];
    // s5 was opened at 19 ms, and the read invoked at 20 ms.
    read.answered = read
        .answered
        .map(|(at, _)| (at, Answer::Active(Streams::of(0..5))));

    let shown = rejected(&history).to_string();
    assert!(
        shown.contains("c5  status → active {s0 s1 s2 s3 s4}\n"),
        "{shown}"
    );
    assert!(
        shown.contains("c5  init s5, at most 8 → opened {s0 s1 s2 s3 s4 s5}\n"),
        "{shown}"
    );
    let statuses = shown.matches("status →").count();
    assert_eq!(
        statuses, 1,
        "the other reads have nothing to do with it: {shown}"
    );
    assert!(
        !shown.contains("stop s"),
        "what came later neither: {shown}"
    );
}
