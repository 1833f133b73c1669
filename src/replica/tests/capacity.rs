use super::*;

fn small(partition: u64, tenant: u64) -> Settings {
    Settings {
        max_streams_per_partition: partition,
        max_streams_per_tenant: tenant,
        ..settings()
    }
}

/// The capacity changes that a replica appends after its tick.
fn changes(rig: &mut Rig, now: u64) -> Vec<CapacityChange> {
    rig.tick(now);
    let bodies = rig.append().into_iter().map(|entry| match entry {
        Entry::Internal(InternalEntry { body, .. }) => body,
        other => panic!("{other:?}"),
    });
    let changes = bodies.filter_map(|body| match body {
        Internal::Capacity(change) => Some(change),
        Internal::Tick(Some(_)) => None,
        other => panic!("{other:?}"),
    });
    changes.collect()
}

fn partition(full: bool) -> CapacityChange {
    CapacityChange { tenant: None, full }
}

fn acme(full: bool) -> CapacityChange {
    CapacityChange {
        tenant: Some(Tenant::new("acme").unwrap()),
        full,
    }
}

#[test]
fn only_the_leader_appends_a_reached_limit_until_it_is_read_back() {
    let mut rig = Rig::serving_by(small(2, 100));
    rig.log.extend([heartbeat("alice", 1), heartbeat("bob", 2)]);
    rig.read(0);
    assert_eq!(changes(&mut rig, 10), []);
    rig.lead(0);
    assert_eq!(changes(&mut rig, 20), [partition(true)]);
    assert_eq!(changes(&mut rig, 30), [partition(true)]);
    rig.read(30);
    assert_eq!(changes(&mut rig, 40), []);
}

#[test]
fn new_streams_are_refused_from_the_entry_on_until_the_limit_is_lifted() {
    let mut rig = Rig::serving_by(small(2, 100));
    rig.lead(0);
    rig.log.extend([heartbeat("alice", 1), heartbeat("bob", 2)]);
    rig.read(0);
    // The limit is soft: streams before the entry are accepted.
    rig.log.push(heartbeat("carol", 3));
    rig.round(10);
    assert_eq!(rig.replica.totals().streams, 3);
    rig.log.push(heartbeat("dave", 4));
    rig.read(10);
    assert_eq!(rig.replica.totals().streams, 3);
    rig.replica.init("i", init("erin", 5), at(20));
    rig.append();
    rig.read(20);
    let refused = Effect::Answer {
        request: "i",
        answer: Answer::Refused {
            stream: id(5),
            refusal: Refused {
                reason: RefusedReason::OverCapacity,
                max_active: None,
                conflicts: Vec::new(),
                is_remembered: false,
                retry_after_ms: None,
            },
            activity: activity("erin", 20, &[]),
        },
        group_by: vec!["device".into()],
    };
    let mut effects = rig.effects();
    effects.retain(|e| !matches!(e, Effect::Announce { .. }));
    assert_eq!(effects, [refused]);
    // Expired streams are stored for another TTL, and count toward the limit.
    rig.rounds(20, 4_120);
    assert_eq!(changes(&mut rig, 4_210), []);
    rig.read(4_210);
    assert_eq!(changes(&mut rig, 4_310), [partition(false)]);
    rig.log.push(heartbeat("dave", 4));
    rig.read(4_310);
    assert_eq!(rig.replica.totals().streams, 1);
}

#[test]
fn the_limit_is_lifted_a_twentieth_below_it() {
    let mut rig = Rig::serving_by(small(40, 100));
    rig.lead(0);
    rig.log.extend((0..2).map(|n| heartbeat("alice", n)));
    rig.read(0);
    rig.rounds(0, 1_000);
    rig.log.extend((2..40).map(|n| heartbeat("bob", n)));
    rig.read(1_000);
    assert_eq!(changes(&mut rig, 1_100), [partition(true)]);
    rig.read(1_100);
    // Alice's two streams are removed at 4,200 ms: 38 are left, which is not below 38.
    rig.rounds(1_100, 4_400);
    assert_eq!(rig.replica.totals().records, 38);
    assert_eq!(changes(&mut rig, 4_500), []);
}

#[test]
fn a_full_tenant_does_not_affect_others() {
    let mut rig = Rig::serving_by(small(100, 1));
    rig.lead(0);
    rig.log.push(heartbeat("alice", 1));
    rig.read(0);
    assert_eq!(changes(&mut rig, 10), [acme(true)]);
    let other = AccountKey::new(
        &Tenant::new("zeta").unwrap(),
        &AccountId::new("zoe").unwrap(),
    );
    rig.log.push(heartbeat("bob", 2));
    rig.log.push(Entry::Player {
        key: other,
        event: Heartbeat::of(id(3)).into(),
    });
    rig.read(10);
    let mut tenants: Vec<_> = rig.replica.totals_by_tenant().collect();
    tenants.sort_by_key(|(name, _)| *name);
    let streams: Vec<_> = tenants.iter().map(|(n, t)| (*n, t.streams)).collect();
    assert_eq!(streams, [("acme", 1), ("zeta", 1)]);
}

#[test]
fn the_limit_of_an_empty_tenant_is_lifted() {
    let mut rig = Rig::serving_by(small(100, 1));
    rig.lead(0);
    rig.log.push(heartbeat("alice", 1));
    rig.read(0);
    rig.rounds(0, 4_300);
    assert_eq!(rig.replica.totals(), StreamCounts::default());
    rig.log.push(heartbeat("bob", 2));
    rig.read(4_300);
    assert_eq!(rig.replica.totals().streams, 1);
}

#[test]
fn reached_limits_are_repeated_by_log_time() {
    for entries in [0, 1, 7] {
        let mut rig = Rig::serving_by(small(100, 1));
        rig.lead(0);
        rig.log.push(heartbeat("alice", 1));
        rig.read(0);
        let mut repeated = Vec::new();
        for now in (100..=20_000).step_by(100) {
            rig.log.push(heartbeat("alice", 1));
            for _ in 0..entries {
                rig.replica
                    .status("q", status_request("bob", Consistency::Strong), at(now));
                rig.append();
                rig.read(now);
            }
            if changes(&mut rig, now).contains(&acme(true)) {
                repeated.push(now);
            }
            rig.read(now);
            rig.effects();
        }
        let apart: Vec<_> = repeated.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(
            apart.len(),
            3,
            "with {entries} entries a tick: {repeated:?}"
        );
        assert!(
            apart.iter().all(|ms| (6_000..=6_200).contains(ms)),
            "{repeated:?}"
        );
    }
}

#[test]
fn ten_thousand_full_tenants_are_repeated_a_few_at_a_time() {
    let mut capacity = Capacity::default();
    for n in 0..10_000 {
        let tenant = Some(Tenant::new(&n.to_string()).unwrap());
        capacity.set(&CapacityChange { tenant, full: true }, LogTime(0));
    }
    assert!(capacity.is_full("77", LogTime(0)) && !capacity.is_full("10000", LogTime(0)));
    let settings = small(100, 1);
    let mut said = 0;
    for now in (5_900..=11_900).step_by(100).map(LogTime) {
        let due = capacity.due(&settings, now, 0, |_| 1);
        assert!(due.len() <= 200);
        said += due.len();
        due.iter().for_each(|change| capacity.set(change, now));
    }
    assert_eq!(said, 10_000);
}

#[test]
fn in_a_truncated_log_no_stream_is_refused_before_all_streams_have_sent_heartbeats() {
    let mut replica: Replica<()> = Replica::new(1);
    replica.attach();
    let mut offset = 100;
    let mut apply = |entry: Entry| {
        offset += 1;
        replica.apply(offset, &entry, at(0)).unwrap();
        replica.totals().streams
    };
    let tick = |ms| {
        Entry::Internal(InternalEntry {
            entry_id: entry_id(9, ms),
            writer_state: Some(WorkerState {
                estimate: LogTime(ms),
                wall: WallTime(ms as i64),
                candidate_from: Some(1),
                leads: true,
                unannounced: 0,
                local_queue: None,
            }),
            body: Internal::Tick(Some(small(100, 1))),
        })
    };
    apply(tick(50_000));
    apply(foreign(2, Internal::Capacity(acme(true))));
    assert_eq!(apply(heartbeat("known-to-others", 1)), 1);
    for n in 1..=22 {
        apply(tick(50_000 + 100 * n));
        apply(heartbeat("known-to-others", 1));
    }
    assert_eq!(apply(heartbeat("new", 2)), 1);
}
