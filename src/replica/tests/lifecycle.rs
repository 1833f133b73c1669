use super::*;
use crate::domain::{LifecycleEventKind, StoppedReason};

impl Rig {
    /// The announced events: number, offset, account, count, kind.
    pub(super) fn announced(&mut self) -> Vec<(u64, u64, String, u32, &'static str)> {
        self.append();
        let effects = std::mem::take(&mut self.others);
        effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Announce {
                    number,
                    announcement: a,
                } => {
                    let kind = match a.event.kind {
                        LifecycleEventKind::Opened { admitted: true, .. } => "opened",
                        LifecycleEventKind::Opened { .. } => "counted",
                        LifecycleEventKind::Admitted { .. } => "admitted",
                        LifecycleEventKind::Refused { .. } => "refused",
                        LifecycleEventKind::Stopped {
                            reason: StoppedReason::Stopped,
                            ..
                        } => "stopped",
                        LifecycleEventKind::Stopped { .. } => "replaced",
                        LifecycleEventKind::Expired { .. } => "expired",
                    };
                    Some((number, a.offset, a.key.account().to_owned(), a.count, kind))
                }
                _ => None,
            })
            .collect()
    }

    fn kinds(&mut self) -> Vec<&'static str> {
        self.announced().into_iter().map(|a| a.4).collect()
    }
}

fn leading() -> Rig {
    let mut rig = Rig::serving();
    rig.lead(0);
    rig
}

#[test]
fn the_leader_announces_lifecycle_events_in_order() {
    let mut rig = leading();
    rig.log.push(heartbeat("alice", 1));
    rig.log.push(heartbeat("alice", 1));
    rig.read(0);
    let mut request = init("alice", 2);
    request.replace = vec![id(1)];
    rig.replica.init("r1", request, at(10));
    rig.append();
    rig.read(20);
    let mut request = init("alice", 3);
    request.max_active = Some(1);
    rig.replica.init("r2", request, at(30));
    rig.append();
    rig.read(40);
    let expected = ["counted", "replaced", "opened", "refused"];
    assert_eq!(rig.kinds(), expected);
    rig.rounds(100, 3_000);
    assert_eq!(rig.kinds(), ["expired"]);
}

#[test]
fn a_retry_is_not_announced_again_and_a_late_admission_is() {
    let mut rig = leading();
    rig.log.push(heartbeat("alice", 1));
    rig.read(0);
    for request in ["r1", "r2"] {
        rig.replica.init(request, init("alice", 1), at(10));
        rig.append();
        rig.read(20);
    }
    assert_eq!(rig.kinds(), ["counted", "admitted"]);
}

#[test]
fn other_replicas_keep_events_until_the_log_records_their_publication() {
    let mut rig = Rig::serving();
    rig.log.extend([heartbeat("alice", 1), heartbeat("bob", 2)]);
    rig.read(0);
    assert!(rig.announced().is_empty());
    let up_to = rig.log.len() as u64 - 2;
    rig.log.push(foreign(5, Internal::Announced { up_to }));
    rig.read(0);
    rig.lead(0);
    let announced = rig.announced();
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].2, "bob");
}

#[test]
fn confirmed_events_are_recorded_in_the_log_once() {
    let mut rig = leading();
    rig.log.push(heartbeat("alice", 1));
    rig.read(0);
    let (number, offset, ..) = rig.announced().remove(0);
    rig.round(100);
    let recorded = |rig: &Rig| {
        let announced = rig.log.iter().filter_map(|entry| match entry {
            Entry::Internal(InternalEntry {
                body: Internal::Announced { up_to },
                ..
            }) => Some(*up_to),
            _ => None,
        });
        announced.collect::<Vec<_>>()
    };
    assert!(recorded(&rig).is_empty());
    rig.replica.announced(number, Ok(()));
    rig.round(200);
    rig.round(300);
    assert_eq!(recorded(&rig), [offset]);
}

#[test]
fn events_that_the_broker_rejects_are_announced_again_an_interval_later() {
    let mut rig = leading();
    rig.log.push(heartbeat("alice", 1));
    rig.read(0);
    let (number, offset, ..) = rig.announced().remove(0);
    rig.replica.announced(number, Err(()));
    assert!(rig.announced().is_empty());
    rig.tick(100);
    assert_eq!(rig.announced()[0].1, offset);
}
