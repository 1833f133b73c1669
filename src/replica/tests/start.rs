use super::*;

#[test]
fn a_new_replica_reads_from_the_start_and_appends_a_marker_without_time() {
    let mut replica = Replica::<u8>::new(1);
    assert_eq!(replica.attach(), StartAt::First);
    assert_eq!(replica.take_effects(), []);
    replica.attached(at(5));
    let join = InternalEntry {
        entry_id: entry_id(1, 1),
        writer_state: None,
        body: Internal::Join { wall: WallTime(5) },
    };
    assert_eq!(replica.take_effects(), [Effect::Append(join)]);
}

#[test]
fn a_replica_has_caught_up_when_its_own_marker_is_read_back() {
    let mut rig = Rig::attached(1, vec![declared(settings()), heartbeat("alice", 1)]);
    let own = rig.log.pop().unwrap();
    rig.log.push(Entry::Internal(InternalEntry {
        entry_id: entry_id(2, 1),
        writer_state: None,
        body: Internal::Tick(None),
    }));
    rig.read(0);
    assert!(!rig.replica.has_caught_up());
    assert_eq!(rig.effects(), []);
    rig.log.push(own);
    rig.read(0);
    assert!(rig.replica.has_caught_up());
    assert_eq!(rig.effects(), [Effect::Resume]);
}

#[test]
fn a_replica_that_caught_up_slowly_accepts_requests_after_a_fresh_marker() {
    let mut rig = Rig::attached(1, vec![declared(settings())]);
    rig.read(300);
    assert!(rig.replica.has_caught_up());
    assert!(!rig.replica.is_live(at(300).mono));
    assert_eq!(rig.append().len(), 1, "writes it at once");
    assert!(!rig.replica.is_live(at(300).mono));
    rig.read(350);
    assert_eq!(rig.effects(), [Effect::Resume]);
}

#[test]
fn a_replica_without_settings_does_not_serve() {
    let mut rig = Rig::attached(1, vec![]);
    rig.read(0);
    assert!(!rig.replica.has_caught_up());
    assert_eq!(rig.effects(), []);
    rig.tick(50);
    assert_eq!(rig.append().len(), 1, "asks the log again");
    rig.log.insert(1, declared(settings()));
    rig.read(60);
    assert_eq!(rig.effects(), [Effect::Resume]);
}

#[test]
fn entries_before_the_settings_are_skipped() {
    let mut replica = Replica::<u8>::new(1);
    replica.attach();
    replica.attached(at(0));
    let applied = replica.apply(0, &heartbeat("alice", 1), at(0)).unwrap();
    assert_eq!(applied, Applied::Skipped);
    replica.apply(1, &declared(settings()), at(0)).unwrap();
    assert_eq!(replica.totals(), StreamCounts::default());
}

#[test]
fn unknown_rules_are_a_fault_and_drop_the_state() {
    let mut rig = Rig::serving();
    let newer = Settings {
        number: 2,
        rules: Rules::NEWEST.number() + 1,
        ..settings()
    };
    let fault = rig.replica.apply(9, &declared(newer), at(0));
    assert_eq!(fault, Err(Fault::UnknownRules(Rules::NEWEST.number() + 1)));
    assert_eq!(rig.replica.settings(), None);
    assert_eq!(rig.replica.attach(), StartAt::First);
}

#[test]
fn the_first_settings_with_the_highest_number_are_in_force() {
    let mut rig = Rig::serving();
    let numbered = |number, ttl_ms| Settings {
        number,
        ttl_ms,
        ..settings()
    };
    let ttl = |rig: &Rig| rig.replica.settings().unwrap().ttl_ms;
    for (given, holds) in [
        (numbered(3, 30_000), 30_000),
        (numbered(2, 20_000), 30_000),
        (numbered(3, 33_000), 30_000),
        (numbered(4, 40_000), 40_000),
    ] {
        rig.log.push(declared(given.clone()));
        rig.log.push(foreign(2, Internal::Tick(Some(given))));
        rig.read(0);
        assert_eq!(ttl(&rig), holds);
    }
}

#[test]
fn a_truncated_log_is_served_from_its_first_tick_on() {
    let mut replica = Replica::<&str>::new(1);
    replica.attach();
    replica.attached(at(0));
    assert_eq!(replica.take_effects().len(), 1);
    let writer_state = WorkerState {
        estimate: LogTime(7_000_000),
        wall: WallTime(1_000),
        candidate_from: None,
        leads: true,
        unannounced: 0,
        local_queue: None,
    };
    let tick = |writer, seq, writer_state, settings| {
        Entry::Internal(InternalEntry {
            entry_id: entry_id(writer, seq),
            writer_state,
            body: Internal::Tick(settings),
        })
    };
    let mut apply = |offset, entry: &Entry| replica.apply(offset, entry, at(10)).unwrap();
    assert_eq!(apply(1_000, &heartbeat("alice", 1)), Applied::Skipped);
    let bare = tick(9, 1, Some(writer_state), None);
    assert_eq!(apply(1_001, &bare), Applied::Skipped);
    apply(1_002, &tick(9, 2, Some(writer_state), Some(settings())));
    apply(1_003, &heartbeat("alice", 1));
    apply(1_004, &tick(1, 1, None, None));
    assert_eq!(replica.take_effects(), [Effect::Resume]);
    assert_eq!(replica.log_time(), Some(LogTime(7_000_000)));
    replica.status("q", status_request("alice", Consistency::Local), at(60));
    let alice = Activity {
        key: key("alice"),
        as_of: WallTime(1_050),
        streams: vec![ActiveStream {
            started_at: WallTime(1_000),
            last_seen: WallTime(1_000),
            ..stream(1, 0, 50, false)
        }],
        left_out: 0,
    };
    assert_eq!(replica.take_effects(), [answer("q", alice)]);
}

#[test]
fn offsets_may_be_missing_but_each_is_applied_once() {
    let mut rig = Rig::serving();
    let mut apply = |offset, entry: &Entry| rig.replica.apply(offset, entry, at(0)).unwrap();
    let started = batch::STARTED;
    assert_eq!(apply(10, &heartbeat("alice", 1)), started);
    assert_eq!(apply(10, &heartbeat("alice", 2)), Applied::Skipped);
    assert_eq!(apply(7, &heartbeat("alice", 3)), Applied::Skipped);
    assert_eq!(apply(500, &heartbeat("alice", 4)), started);
    assert_eq!(rig.replica.totals().streams, 2);
}

#[test]
fn an_undecodable_entry_keeps_its_offset() {
    let mut rig = Rig::serving();
    rig.replica.skip(10, 0, at(0)).unwrap();
    assert_eq!(rig.replica.applied(), Some(10));
    let again = rig
        .replica
        .apply(10, &heartbeat("alice", 1), at(0))
        .unwrap();
    assert_eq!(again, Applied::Skipped);
    rig.replica.skip(3, 0, at(0)).unwrap();
    assert_eq!(rig.replica.applied(), Some(10));
}

#[test]
fn a_first_marker_that_the_broker_rejects_is_appended_again() {
    let mut rig = Rig::attached(1, vec![declared(settings())]);
    rig.log.pop();
    rig.replica.appended(1, Err(()), at(10));
    assert_eq!(rig.effects(), []);
    rig.replica.tick(at(50)).unwrap();
    let Some(Entry::Internal(InternalEntry { entry_id, .. })) = rig.append().pop() else {
        panic!("no entry")
    };
    assert_eq!(entry_id.seq, 2);
    rig.read(20);
    assert_eq!(rig.effects(), [Effect::Resume]);
}

#[test]
fn settings_declared_again_do_not_start_the_time_of_a_truncated_log() {
    let mut replica = Replica::<u8>::new(1);
    replica.attach();
    let tick = Entry::Internal(InternalEntry {
        entry_id: entry_id(9, 1),
        writer_state: Some(WorkerState {
            estimate: LogTime(7_000_000),
            wall: WallTime(1_000),
            candidate_from: None,
            leads: true,
            unannounced: 0,
            local_queue: None,
        }),
        body: Internal::Tick(None),
    });
    replica.apply(1_000, &declared(settings()), at(0)).unwrap();
    assert_eq!(replica.log_time(), None);
    replica.apply(1_001, &tick, at(0)).unwrap();
    assert_eq!(replica.log_time(), Some(LogTime(7_000_000)));
}

#[test]
fn the_first_settings_of_a_new_log_start_its_time() {
    let mut replica = Replica::<u8>::new(1);
    replica.attach();
    let fifth = Settings {
        number: 5,
        ..settings()
    };
    replica.apply(0, &heartbeat("alice", 1), at(0)).unwrap();
    replica.apply(1, &declared(fifth), at(0)).unwrap();
    assert_eq!(replica.log_time(), Some(LogTime(0)));
    replica.apply(2, &heartbeat("alice", 1), at(0)).unwrap();
    assert_eq!(replica.totals().streams, 1);
}
