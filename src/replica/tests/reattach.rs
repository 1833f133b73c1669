use super::*;

/// A replica that has applied settings (0), its marker (1), a heartbeat of alice (2), its tick (3,
/// the anchor), and a heartbeat of bob (4).
fn followed() -> Rig {
    let mut rig = Rig::serving();
    rig.log.push(heartbeat("alice", 1));
    rig.round(100);
    rig.log.push(heartbeat("bob", 2));
    rig.read(100);
    assert_eq!(rig.replica.applied(), Some(4));
    rig
}

/// Attaches again after the connection is lost. The log delivers from `first` on.
fn reattached(rig: &mut Rig, first: usize) {
    rig.replica.detach();
    assert_eq!(rig.replica.attach(), StartAt::Offset(3));
    rig.replica.attached(at(200));
    rig.append();
    rig.next = first;
}

#[test]
fn a_replica_continues_at_its_last_internal_entry_and_applies_none_twice() {
    let mut rig = followed();
    reattached(&mut rig, 2); // the chunk starts before the requested offset
    rig.read(210);
    assert_eq!(rig.effects(), [Effect::Resume]);
    assert_eq!(rig.replica.totals().streams, 2);
    rig.replica
        .status("q", status_request("alice", Consistency::Local), at(210));
    // Log time did not advance while no replica was attached.
    let alice = activity("alice", 100, &[stream(1, 0, 100, false)]);
    assert_eq!(rig.effects(), [answer("q", alice)]);
}

#[test]
fn a_detached_replica_keeps_its_state_but_does_not_answer() {
    let mut rig = followed();
    rig.replica.detach();
    assert_eq!(rig.replica.totals().streams, 2);
    assert!(!rig.replica.is_live(at(110).mono));
    assert!(!rig.replica.has_caught_up());
    assert_eq!(rig.replica.tick(at(60_000)), Ok(()));
    assert_eq!(rig.effects(), []);
}

#[test]
fn a_leader_that_returns_continues_to_lead_unless_another_led_meanwhile() {
    for (another, leads) in [(false, true), (true, false)] {
        let mut rig = Rig::serving();
        rig.rounds(0, 500);
        assert!(rig.replica.leads());
        rig.replica.detach();
        assert!(!rig.replica.leads());
        if another {
            let Some(Entry::Internal(InternalEntry { writer_state, .. })) = rig.log.last() else {
                panic!("the last entry is the replica's tick");
            };
            let of_another = Entry::Internal(InternalEntry {
                entry_id: entry_id(99, 2),
                writer_state: *writer_state,
                body: Internal::Tick(None),
            });
            rig.log.push(of_another);
        }
        let StartAt::Offset(anchor) = rig.replica.attach() else {
            panic!("the state is kept");
        };
        rig.next = anchor as usize;
        rig.replica.attached(at(900));
        rig.append();
        rig.read(900);
        assert_eq!(
            rig.replica.leads(),
            leads,
            "another led meanwhile: {another}"
        );
    }
}

#[test]
fn requests_of_the_lost_connection_are_dropped() {
    let mut rig = followed();
    rig.replica.init("i", init("alice", 7), at(150));
    rig.replica
        .status("q", status_request("alice", Consistency::Strong), at(150));
    let lost = rig.append();
    assert_eq!((lost.len(), rig.replica.pending()), (2, 2));
    reattached(&mut rig, 3);
    assert_eq!(rig.replica.pending(), 0);
    rig.read(210);
    assert_eq!(rig.effects(), [Effect::Resume]);
    assert_eq!(rig.replica.totals().streams, 3, "the proposal counts");
}

#[test]
fn another_internal_entry_at_the_anchor_is_another_log() {
    let mut rig = followed();
    rig.log[3] = foreign(1, Internal::Tick(None));
    reattached(&mut rig, 3);
    let fault = rig.replica.apply(3, &rig.log[3].clone(), at(200));
    assert_eq!(fault, Err(Fault::AnotherLog));
    assert_eq!(rig.replica.totals(), StreamCounts::default());
    assert_eq!(rig.replica.log_time(), None);
    assert_eq!(rig.replica.attach(), StartAt::First);
}

#[test]
fn a_heartbeat_or_an_undecodable_entry_at_the_anchor_is_another_log() {
    let mut rig = followed();
    reattached(&mut rig, 3);
    let fault = rig.replica.apply(3, &heartbeat("alice", 1), at(200));
    assert_eq!(fault, Err(Fault::AnotherLog));

    let mut rig = followed();
    reattached(&mut rig, 3);
    assert_eq!(rig.replica.skip(2, 0, at(0)), Ok(()));
    assert_eq!(rig.replica.skip(3, 0, at(0)), Err(Fault::AnotherLog));
}

#[test]
fn another_heartbeat_after_the_anchor_is_another_log() {
    let mut rig = followed();
    reattached(&mut rig, 3);
    assert!(rig.replica.apply(3, &rig.log[3].clone(), at(200)).is_ok());
    let fault = rig.replica.apply(4, &heartbeat("carol", 3), at(200));
    assert_eq!(fault, Err(Fault::AnotherLog));
    assert_eq!(rig.replica.totals(), StreamCounts::default());
}

#[test]
fn a_log_that_begins_after_the_anchor_is_another_log() {
    let mut rig = followed();
    reattached(&mut rig, 4);
    let fault = rig.replica.apply(4, &heartbeat("bob", 2), at(200));
    assert_eq!(fault, Err(Fault::AnotherLog));
    assert_eq!(rig.replica.attach(), StartAt::First);
}

#[test]
fn a_log_that_ends_before_the_anchor_is_noticed_by_its_silence() {
    let mut rig = followed();
    reattached(&mut rig, 99);
    rig.replica.appended(3, Ok(()), at(200));
    for now in (300..=5_200).step_by(100) {
        rig.tick(now);
    }
    assert_eq!(rig.replica.tick(at(5_201)), Err(Fault::AnotherLog));
    assert_eq!(rig.replica.totals(), StreamCounts::default());
}

#[test]
fn the_state_is_kept_if_a_verified_log_is_silent() {
    let mut rig = followed();
    rig.tick(200);
    rig.append();
    rig.replica.appended(3, Ok(()), at(200));
    for now in (300..=5_200).step_by(100) {
        assert_eq!(rig.replica.tick(at(now)), Ok(()));
    }
    assert_eq!(rig.replica.tick(at(5_201)), Err(Fault::Silent));
    assert_eq!(rig.replica.totals().streams, 2);
    assert_eq!(rig.replica.attach(), StartAt::Offset(3));
}

#[test]
fn a_stall_of_the_worker_does_not_count_as_silence_of_the_log() {
    let mut rig = followed();
    rig.tick(200);
    rig.append();
    rig.replica.appended(3, Ok(()), at(200));
    assert_eq!(rig.replica.tick(at(60_000)), Ok(()));
    assert_eq!(rig.replica.tick(at(60_100)), Ok(()));
}

#[test]
fn a_log_that_confirms_nothing_is_not_silent() {
    let mut rig = followed();
    reattached(&mut rig, 99);
    assert_eq!(rig.replica.tick(at(3_600_000)), Ok(()));
}

#[test]
fn an_entry_that_only_one_node_can_deliver_is_no_other_log() {
    // Applied, and undeliverable when the log is read again.
    let mut rig = followed();
    reattached(&mut rig, 3);
    let anchor = rig.log[3].clone();
    assert!(rig.replica.apply(3, &anchor, at(200)).is_ok());
    assert_eq!(rig.replica.skip_entry(4, 0, at(200)), Ok(()));
    assert!(
        rig.replica
            .apply(5, &heartbeat("carol", 3), at(200))
            .is_ok()
    );
    assert_eq!(rig.replica.totals().streams, 3);

    // Undeliverable at first, and delivered when the log is read again.
    let mut rig = followed();
    assert_eq!(rig.replica.skip_entry(5, 0, at(150)), Ok(()));
    reattached(&mut rig, 3);
    for (offset, entry) in [
        (3, anchor),
        (4, heartbeat("bob", 2)),
        (5, heartbeat("dave", 4)),
    ] {
        assert!(rig.replica.apply(offset, &entry, at(200)).is_ok());
    }
    assert!(
        rig.replica
            .apply(6, &heartbeat("carol", 3), at(200))
            .is_ok()
    );
    assert_eq!(rig.replica.totals().streams, 3, "dave's effect is missing");
}
