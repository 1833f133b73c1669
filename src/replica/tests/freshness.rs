use super::*;

fn local() -> StatusRequest {
    status_request("alice", Consistency::Local)
}

#[test]
fn a_status_waits_until_a_marker_of_the_last_three_intervals_is_read_back() {
    let mut rig = Rig::serving();
    rig.tick(200);
    rig.append();
    rig.replica.status("q", local(), at(299));
    assert_eq!(rig.effects(), [answer("q", activity("alice", 200, &[]))]);
    rig.replica.status("r", local(), at(300));
    assert_eq!(rig.effects(), []);
    assert_eq!(rig.replica.pending(), 1);
    rig.log.push(heartbeat("alice", 1));
    rig.read(310);
    // The marker of 200 ms came before the heartbeat, and suffices for the answer. The estimate was
    // at its bound, two intervals after the log, and continues from there.
    assert_eq!(rig.effects()[0], answer("r", activity("alice", 200, &[])));
}

#[test]
fn an_init_that_arrives_at_a_stale_replica_is_requeued() {
    let mut rig = Rig::serving();
    rig.replica.init("i", init("alice", 1), at(300));
    assert_eq!(rig.effects(), []);
    rig.round(310);
    assert_eq!(rig.effects(), [Effect::Release("i")]);
    assert_eq!(rig.replica.totals().streams, 0);
}

#[test]
fn requests_are_requeued_while_markers_are_late() {
    let mut rig = Rig::serving();
    rig.replica
        .status("s", status_request("alice", Consistency::Strong), at(100));
    rig.append();
    rig.replica.status("q", local(), at(400));
    rig.replica.init("i", init("alice", 1), at(400));
    rig.tick(599);
    rig.append();
    rig.tick(600);
    let mut effects = rig.effects();
    let Effect::Append(tick) = effects.remove(0) else {
        panic!("no tick")
    };
    rig.log.push(Entry::Internal(tick));
    let given_back = ["q", "i", "s"].map(Effect::Release);
    assert_eq!(effects.remove(0), Effect::Pause);
    assert_eq!(effects, given_back);
    assert_eq!(rig.replica.pending(), 0);
    rig.replica.status("late", local(), at(650));
    rig.tick(700);
    let mut effects = rig.effects();
    let Effect::Append(tick) = effects.remove(0) else {
        panic!("no tick")
    };
    rig.log.push(Entry::Internal(tick));
    assert_eq!(effects, [Effect::Release("late")], "and no second pause");
    rig.read(700);
    assert_eq!(rig.effects(), [Effect::Resume]);
}

#[test]
fn a_status_that_waited_too_long_is_late() {
    let mut rig = Rig::attached(1, vec![declared(settings())]);
    rig.log.pop();
    rig.replica.status("old", local(), at(300));
    rig.replica.status("new", local(), at(301));
    rig.replica.appended(1, Err(()), at(10_200));
    rig.replica.tick(at(10_290)).unwrap();
    rig.append();
    rig.read(10_300);
    // The clock of the worker that joined sets the wall time at once; log time did not advance.
    let new = answer("new", activity("alice", 10_290, &[]));
    assert_eq!(rig.effects(), [Effect::Resume, Effect::Late("old"), new]);
}

#[test]
fn a_stalled_replica_answers_only_after_a_new_marker() {
    const HOUR: u64 = 3_600_000;
    let mut rig = Rig::serving();
    rig.tick(100);
    rig.append();
    rig.replica.status(
        "strong",
        status_request("alice", Consistency::Strong),
        at(110),
    );
    rig.replica.init("i", init("alice", 1), at(120));
    rig.append();
    // After the stall, its buffers contain requests, and markers of an hour ago.
    rig.replica.status("q", local(), at(HOUR));
    assert!(!rig.replica.is_live(at(HOUR).mono));
    rig.read(HOUR);
    assert_eq!(
        rig.effects(),
        [Effect::Late("strong"), Effect::Release("i")],
        "the sender has timed out"
    );
    assert!(!rig.replica.is_live(at(HOUR).mono));
    rig.tick(HOUR);
    let effects = rig.effects();
    assert_eq!(effects[1..], [Effect::Pause, Effect::Release("q")]);
    let Effect::Append(tick) = &effects[0] else {
        panic!("no tick")
    };
    rig.log.push(Entry::Internal(tick.clone()));
    rig.read(HOUR + 10);
    assert_eq!(rig.effects(), [Effect::Resume]);
    assert!(rig.replica.is_live(at(HOUR + 10).mono));
}

#[test]
fn a_jumping_clock_advances_log_time_by_at_most_two_intervals() {
    let mut rig = Rig::serving();
    rig.round(100);
    assert_eq!(rig.replica.log_time(), Some(LogTime(100)));
    rig.round(3_600_000);
    assert_eq!(rig.replica.log_time(), Some(LogTime(300)));
    rig.round(3_600_050);
    assert_eq!(rig.replica.log_time(), Some(LogTime(350)));
}

#[test]
fn proposals_between_ticks_do_not_speed_up_log_time() {
    let mut rig = Rig::serving();
    for now in 1..=500 {
        rig.replica
            .init("i", init("alice", u128::from(now)), at(now));
        rig.append();
        rig.read(now);
        assert_eq!(rig.replica.log_time(), Some(LogTime(now)));
        rig.effects();
    }
}

#[test]
fn two_replicas_do_not_speed_up_log_time() {
    let mut one = Rig::serving();
    let mut other = Rig::attached(2, one.log.clone());
    one.log.clone_from(&other.log);
    other.read(0);
    one.read(0);
    other.effects();
    for now in (100..=10_000).step_by(100) {
        for rig in [&mut one, &mut other] {
            rig.tick(now);
        }
        let mut appended = one.append();
        let others = other.append();
        one.log.extend(others.iter().cloned());
        appended.extend(others);
        other.log.truncate(other.log.len() - 1);
        other.log.extend(appended);
        one.read(now + 90);
        other.read(now + 90);
    }
    assert_eq!(one.replica.log_time(), Some(LogTime(10_000)));
    assert_eq!(other.replica.log_time(), Some(LogTime(10_000)));
}
