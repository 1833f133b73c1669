use super::*;

fn proposal(seq: u64, estimate: u64, n: u128, not_after: u64) -> Entry {
    Entry::Internal(InternalEntry {
        entry_id: entry_id(1, seq),
        writer_state: Some(WorkerState {
            estimate: LogTime(estimate),
            wall: WallTime(estimate as i64),
            candidate_from: Some(1),
            leads: false,
            unannounced: 0,
            local_queue: None,
        }),
        body: Internal::Open(Box::new(Open {
            key: key("alice"),
            stream: id(n),
            request: RequestId(Uuid::from_u128(n)),
            not_after: LogTime(not_after),
            max_active: None,
            replace: Vec::new(),
            metadata: Metadata::default(),
            terms: None,
        })),
    })
}

fn opened(request: &'static str, n: u128, activity: Activity) -> Effect<&'static str> {
    Effect::Answer {
        request,
        answer: Answer::Opened {
            stream: id(n),
            heartbeat_every_ms: 500,
            ttl_ms: 2_000,
            replaced: Vec::new(),
            activity,
        },
        group_by: vec!["device".into()],
    }
}

#[test]
fn an_init_is_proposed_and_answered_with_the_state_at_its_entry() {
    let mut rig = Rig::serving();
    rig.replica.init("i", init("alice", 7), at(50));
    // Valid for the TTL, which is less than 10 s.
    assert_eq!(rig.append(), [proposal(2, 50, 7, 2_050)]);
    rig.log.push(heartbeat("alice", 8)); // later in the log: not in the answer
    rig.read(60);
    let alice = activity("alice", 50, &[stream(7, 50, 50, true)]);
    assert_eq!(rig.effects(), [opened("i", 7, alice)]);
    assert_eq!(rig.replica.pending(), 0);
}

#[test]
fn a_proposal_that_is_read_back_twice_is_answered_once() {
    let mut rig = Rig::serving();
    rig.replica.init("i", init("alice", 7), at(50));
    let entry = rig.append().remove(0);
    rig.log.push(entry);
    rig.read(60);
    assert_eq!(rig.effects().len(), 1);
    assert_eq!(rig.replica.totals().streams, 1);
}

#[test]
fn requests_at_once_over_two_replicas_count_one_to_n_and_max_active_admits_exactly_n() {
    let settings = vec![declared(settings())];
    let mut rigs = [
        Rig::attached(1, settings.clone()),
        Rig::attached(2, settings),
    ];
    let marks: Vec<Entry> = rigs.iter().map(|rig| rig.log[1].clone()).collect();
    for rig in &mut rigs {
        rig.log.truncate(1);
        rig.log.extend(marks.iter().cloned());
        rig.read(0);
        assert_eq!(rig.effects(), [Effect::Resume]);
    }
    let mut proposals = Vec::new();
    for n in 0..10 {
        let rig = &mut rigs[n % 2];
        let request = InitRequest {
            max_active: Some(6),
            ..init("alice", n as u128)
        };
        rig.replica.init("i", request, at(10));
        proposals.extend(rig.effects());
    }
    proposals.reverse();
    let mut counts = Vec::new();
    let mut refused = 0;
    for rig in &mut rigs {
        for proposal in &proposals {
            let Effect::Append(entry) = proposal else {
                panic!("{proposal:?}")
            };
            rig.log.push(Entry::Internal(entry.clone()));
        }
        rig.read(20);
        for effect in rig.effects() {
            match effect {
                Effect::Answer {
                    answer: Answer::Opened { activity, .. },
                    ..
                } => counts.push(activity.streams.len()),
                Effect::Answer {
                    answer:
                        Answer::Refused {
                            refusal, activity, ..
                        },
                    ..
                } if activity.streams.len() == 6 => {
                    assert_eq!(refusal.reason, RefusedReason::MaxActive);
                    assert_eq!(refusal.conflicts[0].streams.len(), 6);
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    counts.sort_unstable();
    assert_eq!((counts, refused), (vec![1, 2, 3, 4, 5, 6], 4));
}

#[test]
fn a_late_proposal_changes_nothing() {
    let mut rig = Rig::serving();
    rig.replica.init("i", init("alice", 7), at(0));
    let held_back = rig.append();
    rig.log.truncate(rig.log.len() - 1);
    for now in (100..=2_100).step_by(100) {
        // Ticks of another worker advance log time.
        let writer_state = Some(WorkerState {
            estimate: LogTime(now),
            wall: WallTime(0),
            candidate_from: None,
            leads: false,
            unannounced: 0,
            local_queue: None,
        });
        rig.log.push(Entry::Internal(InternalEntry {
            entry_id: entry_id(2, now),
            writer_state,
            body: Internal::Tick(None),
        }));
    }
    rig.log.extend(held_back);
    rig.read(1_000);
    assert_eq!(rig.effects(), [Effect::Late("i")]);
}

#[test]
fn a_proposal_that_the_broker_does_not_confirm_has_an_unknown_outcome() {
    let mut rig = Rig::serving();
    rig.replica.init("i", init("alice", 7), at(0));
    rig.append();
    rig.replica.appended(2, Err(()), at(10));
    assert_eq!(rig.effects(), [Effect::Unavailable("i")]);
    rig.read(20); // the broker has stored it nevertheless
    assert_eq!(rig.effects(), []);
    assert_eq!(rig.replica.totals().streams, 1);
}

#[test]
fn a_request_is_requeued_if_its_proposal_is_not_read_back() {
    let mut rig = Rig::serving();
    rig.replica.init("i", init("alice", 7), at(0));
    let lost = rig.append();
    rig.log.pop();
    rig.rounds(0, 4_900);
    rig.tick(5_000);
    let [Effect::Append(_), Effect::Release("i")] = &rig.effects()[..] else {
        panic!("not released")
    };
    rig.log.extend(lost);
    rig.read(5_010);
    assert_eq!(rig.effects(), [], "answered by another");
}

#[test]
fn a_local_status_is_answered_at_the_estimated_time() {
    let mut rig = Rig::serving();
    rig.log.push(heartbeat("alice", 1));
    rig.read(0);
    let mut about = status_request("alice", Consistency::Local);
    about.query.stream = Some(id(1));
    about.query.group_by = vec!["device".into()];
    rig.replica.status("q", about, at(70));
    let expected = Effect::Answer {
        request: "q",
        answer: Answer::Status {
            activity: activity("alice", 70, &[stream(1, 0, 70, false)]),
            stream: Some((id(1), StreamState::Active)),
        },
        group_by: vec!["device".into()],
    };
    assert_eq!(rig.effects(), [expected]);
    rig.replica
        .status("r", status_request("nobody", Consistency::Local), at(70));
    assert_eq!(rig.effects(), [answer("r", activity("nobody", 70, &[]))]);
}

#[test]
fn strong_requests_share_only_a_later_marker() {
    let mut rig = Rig::serving();
    let strong = || status_request("alice", Consistency::Strong);
    rig.replica.status("a", strong(), at(10));
    let first = rig.append();
    assert_eq!(first.len(), 1);
    rig.replica.status("b", strong(), at(20));
    rig.replica.status("c", strong(), at(30));
    assert_eq!(rig.effects(), [], "one marker is in flight at a time");
    rig.log.push(heartbeat("alice", 1));
    rig.read(40);
    let mut effects = rig.effects();
    assert_eq!(effects.remove(0), answer("a", activity("alice", 10, &[])));
    let [Effect::Append(second)] = &effects[..] else {
        panic!("{effects:?}")
    };
    rig.log.push(Entry::Internal(second.clone()));
    rig.read(50);
    let alice = || activity("alice", 40, &[stream(1, 10, 40, false)]);
    assert_eq!(rig.effects(), [answer("b", alice()), answer("c", alice())]);
}

#[test]
fn a_strong_status_is_answered_by_any_later_marker() {
    let mut rig = Rig::serving();
    rig.replica
        .status("q", status_request("alice", Consistency::Strong), at(10));
    rig.append();
    rig.log.pop();
    rig.log.push(heartbeat("alice", 1));
    rig.round(100);
    let alice = activity("alice", 100, &[stream(1, 0, 100, false)]);
    assert_eq!(rig.effects(), [answer("q", alice)]);
}

#[test]
fn strong_requests_are_unavailable_if_their_marker_fails_and_later_ones_get_another() {
    let mut rig = Rig::serving();
    let strong = || status_request("alice", Consistency::Strong);
    rig.replica.status("a", strong(), at(10));
    rig.append();
    rig.log.pop();
    rig.replica.status("b", strong(), at(20));
    rig.replica.appended(2, Err(()), at(30));
    let mut effects = rig.effects();
    assert_eq!(effects.remove(0), Effect::Unavailable("a"));
    let [Effect::Append(next)] = &effects[..] else {
        panic!("no marker is appended for the second request: {effects:?}")
    };
    rig.log.push(Entry::Internal(next.clone()));
    rig.read(40);
    assert_eq!(rig.effects(), [answer("b", activity("alice", 30, &[]))]);
}
