//! Tests of rules version 2, and of the change to it.

use super::{batch::REFRESHED, *};
use crate::domain::{
    GivenReason, LifecycleEventKind, Limit, MetadataPatch, Stop, StopOutcome, Terms,
};

fn old() -> Settings {
    Settings {
        rules: Rules::V1.number(),
        ..settings()
    }
}

fn upgraded() -> Settings {
    Settings {
        number: 2,
        ..settings()
    }
}

fn set(settings: Settings) -> Entry {
    let wall = WallTime(0);
    foreign(2, Internal::Settings { settings, wall })
}

fn stop_all() -> Entry {
    Entry::Player {
        key: key("alice"),
        event: Stop::of_all(GivenReason::new("bye").ok()).into(),
    }
}

fn limited(n: u128, max: u32) -> InitRequest {
    let terms = Terms {
        limits: vec![Limit::of_all(max)],
        ..Terms::default()
    };
    InitRequest {
        terms: Some(Box::new(terms)),
        ..init("alice", n)
    }
}

fn with_number(n: u128) -> Entry {
    let set = Metadata::new(&mut [("bitrate", "5000")]).unwrap();
    let metadata = MetadataPatch::merge(set, Vec::new()).ok();
    Entry::Player {
        key: key("alice"),
        event: PlayerEvent::Heartbeat(Heartbeat {
            metadata,
            ..Heartbeat::of(id(n))
        }),
    }
}

impl Rig {
    fn counts(&mut self) -> Vec<(u32, &'static str)> {
        self.announced().into_iter().map(|a| (a.3, a.4)).collect()
    }

    fn open(&mut self, request: InitRequest, now: u64) -> Vec<Effect<&'static str>> {
        self.replica.init("i", request, at(now));
        self.append();
        self.read(now);
        let mut effects = self.effects();
        effects.retain(|effect| !matches!(effect, Effect::Announce { .. }));
        effects
    }
}

#[test]
fn entries_with_fields_of_rules_2_change_nothing_until_these_are_set() {
    let mut rig = Rig::serving_by(old());
    rig.publish(0, &[heartbeat("alice", 1)]);
    assert_eq!(rig.apply_last(stop_all()), Applied::OldRules("all"));
    assert_eq!(
        rig.apply_last(with_number(1)),
        Applied::OldRules("metadata")
    );
    assert_eq!(
        rig.apply_last(with_number(2)),
        Applied::OldRules("metadata")
    );
    assert_eq!(rig.replica.totals().streams, 1);
    assert_eq!(rig.replica.counters().bad[Counters::OLD_RULES], 3);
    let old_rules = Effect::OldRules {
        request: "i",
        field: "limits",
    };
    assert_eq!(rig.open(limited(3, 5), 10), [old_rules]);
    let log = rig.log.len();
    assert_eq!(rig.apply_last(set(upgraded())), Applied::Internal);
    assert_eq!(log + 1, rig.log.len(), "the request was not proposed");
    let changed = rig.apply_last(with_number(1));
    assert_ne!(changed, REFRESHED);
    assert!(matches!(changed, Applied::Heartbeat(_)), "{changed:?}");
    assert!(matches!(
        rig.open(limited(3, 5), 20)[..],
        [Effect::Answer {
            answer: Answer::Opened { .. },
            ..
        }]
    ));
    assert_eq!(
        rig.apply_last(stop_all()),
        Applied::Stop(StopOutcome::Ended)
    );
    assert_eq!(rig.replica.totals().streams, 0);
}

#[test]
fn the_rules_take_effect_at_one_entry_also_for_events_of_a_replayed_log() {
    let rig_of = |settings| {
        let mut rig = Rig::serving_by(settings);
        rig.lead(0);
        rig
    };
    let entries = [heartbeat("alice", 1), heartbeat("alice", 2), stop_all()];
    let mut rig = rig_of(settings());
    rig.publish(0, &entries);
    let expected = [
        (1, "counted"),
        (2, "counted"),
        (1, "stopped"),
        (0, "stopped"),
    ];
    assert_eq!(rig.counts(), expected);
    let mut rig = rig_of(old());
    rig.publish(0, &entries);
    assert_eq!(rig.counts(), expected[..2]);
    rig.rounds(0, 2_300);
    assert_eq!(rig.counts(), [(0, "expired"), (0, "expired")]);
    rig.publish(
        2_300,
        &[
            set(upgraded()),
            heartbeat("alice", 3),
            heartbeat("alice", 4),
        ],
    );
    rig.rounds(2_300, 4_700);
    let expected = [
        (1, "counted"),
        (2, "counted"),
        (1, "expired"),
        (0, "expired"),
    ];
    assert_eq!(rig.counts(), expected);
}

#[test]
fn streams_replaced_in_one_step_have_running_counts() {
    let mut rig = Rig::serving();
    rig.lead(0);
    rig.publish(0, &[1, 2, 3].map(|n| heartbeat("alice", n)));
    let mut request = init("alice", 4);
    request.replace = vec![id(3), id(1)];
    let effects = rig.open(request, 10);
    let [
        Effect::Answer {
            answer: Answer::Opened { replaced, .. },
            ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(*replaced, [id(3), id(1)]);
    let mut late = init("alice", 2);
    late.request = RequestId(Uuid::from_u128(9));
    rig.open(late, 20);
    let kinds: Vec<_> = rig
        .replica
        .announcements
        .buffered()
        .map(|a| (a.count, a.event.kind.clone()))
        .skip(3)
        .collect();
    let counts: Vec<u32> = kinds.iter().map(|(count, _)| *count).collect();
    assert_eq!(counts, [2, 1, 2, 2]);
    let successors = kinds.iter().filter_map(|(_, kind)| match kind {
        LifecycleEventKind::Stopped { successor, .. } => *successor,
        _ => None,
    });
    assert_eq!(successors.collect::<Vec<_>>(), [id(4), id(4)]);
    assert!(matches!(kinds[3].1, LifecycleEventKind::Admitted { .. }));
}

#[test]
fn a_remembered_refusal_is_answered_as_one() {
    let mut rig = Rig::serving();
    rig.publish(0, &[heartbeat("alice", 1)]);
    let request = || InitRequest {
        max_active: Some(1),
        ..init("alice", 2)
    };
    let refusal = |effects: Vec<Effect<_>>| match &effects[..] {
        [
            Effect::Answer {
                answer: Answer::Refused { refusal, .. },
                ..
            },
        ] => refusal.clone(),
        effects => panic!("{effects:?}"),
    };
    let first = refusal(rig.open(request(), 0));
    assert!(!first.is_remembered && first.conflicts.len() == 1);
    let again = refusal(rig.open(request(), 100));
    assert!(again.is_remembered);
    assert_eq!(again.retry_after_ms, Some(settings().refusal_ms() - 100));
}

#[test]
fn ignored_fields_are_counted_and_their_events_take_effect() {
    let mut rig = Rig::serving();
    let bad = Heartbeat {
        metadata: Some(MetadataPatch::Invalid),
        ..Heartbeat::of(id(1))
    };
    let key = key("alice");
    rig.apply_last(Entry::Player {
        key: key.clone(),
        event: bad.into(),
    });
    assert_eq!(rig.replica.totals().streams, 1);
    assert_eq!(rig.replica.counters().bad[Counters::BAD_FIELD], 1);
    let stop = Stop {
        reason: Some(GivenReason::new("a\nb")),
        ..Stop::of(id(1))
    };
    let event = stop.into();
    assert_eq!(
        rig.apply_last(Entry::Player { key, event }),
        Applied::Stop(StopOutcome::Ended)
    );
    assert_eq!(rig.replica.counters().bad[Counters::BAD_FIELD], 2);
}

#[test]
fn merged_metadata_is_shared_and_restored() {
    let mut rig = Rig::serving();
    rig.publish(0, &[with_number(1), with_number(2)]);
    let account = rig.replica.account(&key("alice")).unwrap();
    let [one, other] = account.streams() else {
        panic!("two streams");
    };
    assert!(one.metadata.is_same(&other.metadata));
    assert_eq!(one.metadata.get("bitrate"), Some("5000"));
}
