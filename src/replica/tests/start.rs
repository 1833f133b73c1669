use super::*;

#[test]
fn a_new_replica_reads_from_the_beginning_and_writes_a_mark_without_time() {
    let mut replica = Replica::<u8>::new(1);
    assert_eq!(replica.attach(), StartAt::First);
    assert_eq!(replica.take_effects(), []);
    replica.attached(at(5));
    let join = Entry::Internal {
        mark: mark(1, 1),
        reading: None,
        body: Internal::Join { wall: WallTime(5) },
    };
    assert_eq!(replica.take_effects(), [Effect::Append(join)]);
}

#[test]
fn only_the_return_of_its_own_mark_means_caught_up() {
    let mut rig = Rig::attached(1, vec![declared(settings()), beat("alice", 1)]);
    let own = rig.log.pop().unwrap();
    rig.log.push(Entry::Internal {
        mark: mark(2, 1),
        reading: None,
        body: Internal::Tick(None),
    });
    rig.read(0);
    assert!(!rig.replica.has_caught_up());
    assert_eq!(rig.effects(), []);
    rig.log.push(own);
    rig.read(0);
    assert!(rig.replica.has_caught_up());
    assert_eq!(rig.effects(), [Effect::Resume]);
}

#[test]
fn one_that_caught_up_slowly_takes_no_requests_before_a_fresh_mark_is_back() {
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
fn nothing_is_served_before_settings_are_known() {
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
fn what_comes_before_the_settings_is_not_judged() {
    let mut replica = Replica::<u8>::new(1);
    replica.attach();
    replica.attached(at(0));
    let applied = replica.apply(0, &beat("alice", 1), at(0)).unwrap();
    assert_eq!(applied, Applied::Skipped);
    replica.apply(1, &declared(settings()), at(0)).unwrap();
    assert_eq!(replica.totals(), Totals::default());
}

#[test]
fn rules_of_another_version_are_a_fault_and_the_state_is_thrown_away() {
    let mut rig = Rig::serving();
    let newer = Settings {
        number: 2,
        rules: RULES_VERSION + 1,
        ..settings()
    };
    let fault = rig.replica.apply(9, &declared(newer), at(0));
    assert_eq!(fault, Err(Fault::UnknownRules(RULES_VERSION + 1)));
    assert_eq!(rig.replica.settings(), None);
    assert_eq!(rig.replica.attach(), StartAt::First);
}

#[test]
fn of_settings_the_highest_number_holds_and_of_one_number_the_first() {
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
fn a_log_whose_beginning_is_gone_is_served_from_the_first_tick_that_names_settings_and_time() {
    let mut replica = Replica::<&str>::new(1);
    replica.attach();
    replica.attached(at(0));
    assert_eq!(replica.take_effects().len(), 1);
    let reading = Reading {
        estimate: LogTime(7_000_000),
        wall: WallTime(1_000),
        stands_from: None,
        leads: true,
        unannounced: 0,
    };
    let tick = |writer, seq, reading, settings| Entry::Internal {
        mark: mark(writer, seq),
        reading,
        body: Internal::Tick(settings),
    };
    let mut apply = |offset, entry: &Entry| replica.apply(offset, entry, at(10)).unwrap();
    assert_eq!(apply(1_000, &beat("alice", 1)), Applied::Skipped);
    let bare = tick(9, 1, Some(reading), None);
    assert_eq!(apply(1_001, &bare), Applied::Skipped);
    apply(1_002, &tick(9, 2, Some(reading), Some(settings())));
    apply(1_003, &beat("alice", 1));
    apply(1_004, &tick(1, 1, None, None));
    assert_eq!(replica.take_effects(), [Effect::Resume]);
    assert_eq!(replica.log_time(), Some(LogTime(7_000_000)));
    replica.status("q", question("alice", Consistency::Local), at(60));
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
    let started = Applied::Heartbeat(crate::domain::HeartbeatOutcome::Started { outdated: false });
    assert_eq!(apply(10, &beat("alice", 1)), started);
    assert_eq!(apply(10, &beat("alice", 2)), Applied::Skipped);
    assert_eq!(apply(7, &beat("alice", 3)), Applied::Skipped);
    assert_eq!(apply(500, &beat("alice", 4)), started);
    assert_eq!(rig.replica.totals().streams, 2);
}

#[test]
fn an_entry_that_does_not_decode_keeps_its_place() {
    let mut rig = Rig::serving();
    rig.replica.skip(10, 0, at(0)).unwrap();
    assert_eq!(rig.replica.applied(), Some(10));
    let again = rig.replica.apply(10, &beat("alice", 1), at(0)).unwrap();
    assert_eq!(again, Applied::Skipped);
    rig.replica.skip(3, 0, at(0)).unwrap();
    assert_eq!(rig.replica.applied(), Some(10));
}

#[test]
fn a_first_mark_that_the_broker_did_not_take_is_written_again() {
    let mut rig = Rig::attached(1, vec![declared(settings())]);
    rig.log.pop();
    rig.replica.appended(1, Err(()), at(10));
    assert_eq!(rig.effects(), []);
    rig.replica.tick(at(50)).unwrap();
    let Some(Entry::Internal { mark, .. }) = rig.append().pop() else {
        panic!("no entry")
    };
    assert_eq!(mark.seq, 2);
    rig.read(20);
    assert_eq!(rig.effects(), [Effect::Resume]);
}

#[test]
fn settings_declared_again_do_not_begin_the_time_of_a_log_whose_beginning_is_gone() {
    let mut replica = Replica::<u8>::new(1);
    replica.attach();
    let tick = Entry::Internal {
        mark: mark(9, 1),
        reading: Some(Reading {
            estimate: LogTime(7_000_000),
            wall: WallTime(1_000),
            stands_from: None,
            leads: true,
            unannounced: 0,
        }),
        body: Internal::Tick(None),
    };
    replica.apply(1_000, &declared(settings()), at(0)).unwrap();
    assert_eq!(replica.log_time(), None);
    replica.apply(1_001, &tick, at(0)).unwrap();
    assert_eq!(replica.log_time(), Some(LogTime(7_000_000)));
}

#[test]
fn the_first_settings_of_a_whole_log_begin_its_time_whatever_their_number() {
    let mut replica = Replica::<u8>::new(1);
    replica.attach();
    let fifth = Settings {
        number: 5,
        ..settings()
    };
    replica.apply(0, &beat("alice", 1), at(0)).unwrap();
    replica.apply(1, &declared(fifth), at(0)).unwrap();
    assert_eq!(replica.log_time(), Some(LogTime(0)));
    replica.apply(2, &beat("alice", 1), at(0)).unwrap();
    assert_eq!(replica.totals().streams, 1);
}
