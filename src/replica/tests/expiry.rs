use super::*;
use crate::replica::expiry::EXPIRIES_PER_ENTRY;

const MANY: u128 = 2_000;

/// A leader with `accounts` accounts, which expire by the last entry at 2,200 ms.
fn expiring() -> Rig {
    let mut rig = Rig::serving();
    for now in (100..=2_100).step_by(100) {
        if now == 100 {
            rig.log
                .extend((0..MANY).map(|n| heartbeat(&n.to_string(), n)));
        }
        rig.round(now);
    }
    rig.effects();
    assert_eq!(rig.replica.unannounced(), MANY as usize);
    let up_to = rig.log.len() as u64 - 1;
    rig.log.push(foreign(7, Internal::Announced { up_to }));
    rig.read(2_100);
    assert_eq!(rig.replica.totals().streams, MANY as u64);
    rig.round(2_200);
    rig
}

/// Confirms all announcements, and returns their offsets.
fn confirm(rig: &mut Rig) -> Vec<u64> {
    let mut offsets = Vec::new();
    loop {
        let before = offsets.len();
        for effect in rig.effects() {
            if let Effect::Announce {
                number,
                announcement,
            } = effect
            {
                offsets.push(announcement.offset);
                rig.replica.announced(number, Ok(()));
            }
        }
        if offsets.len() == before {
            return offsets;
        }
    }
}

/// The offset of the tick by which they expire.
fn tick(rig: &Rig) -> u64 {
    rig.log.len() as u64 - 1
}

#[test]
fn a_tick_and_each_call_process_a_bounded_number_of_expiries() {
    let mut rig = expiring();
    assert!(rig.replica.is_expiring());
    assert!(rig.replica.unannounced() <= EXPIRIES_PER_ENTRY);
    let mut calls = 0;
    while rig.replica.is_expiring() {
        let before = rig.replica.unannounced();
        rig.replica.expire();
        assert!(rig.replica.unannounced() - before <= 512);
        calls += 1;
    }
    assert_eq!(rig.replica.unannounced(), MANY as usize);
    assert_eq!(rig.replica.totals().streams, 0);
    assert!(calls > 3);
}

#[test]
fn answers_are_exact_while_expiries_are_unprocessed() {
    let mut rig = expiring();
    for account in ["0", "1000", "1999"] {
        rig.replica
            .status("q", status_request(account, Consistency::Local), at(2_200));
        let mut effects = rig.effects();
        effects.retain(|e| !matches!(e, Effect::Announce { .. }));
        let nobody = activity(account, 2_200, &[]);
        assert_eq!(effects, [answer("q", nobody)], "{account}");
    }
    assert!(rig.replica.is_expiring());
    assert!(rig.replica.begin_snapshot().is_none());
}

#[test]
fn events_keep_the_order_of_the_log_while_expiries_are_unprocessed() {
    let mut rig = expiring();
    let expired = tick(&rig);
    // The events of an expired stream and of a new one.
    rig.log.extend([heartbeat("0", 0), heartbeat("new", 7_000)]);
    rig.read(2_210);
    assert!(rig.replica.is_expiring());
    while rig.replica.is_expiring() {
        rig.replica.expire();
    }
    let offsets = confirm(&mut rig);
    assert_eq!(offsets.len(), MANY as usize + 2);
    assert!(offsets.is_sorted());
    let own: Vec<_> = offsets.iter().filter(|o| **o > expired).collect();
    assert_eq!(own, [&(expired + 1), &(expired + 2)]);
}

#[test]
fn an_entry_with_further_events_is_not_recorded_as_announced() {
    let mut rig = expiring();
    assert!(!confirm(&mut rig).is_empty());
    let recorded = |rig: &mut Rig, now| {
        rig.tick(now);
        let appended = rig.append();
        appended.into_iter().any(|entry| {
            matches!(
                entry,
                Entry::Internal(InternalEntry {
                    body: Internal::Announced { .. },
                    ..
                })
            )
        })
    };
    assert!(!recorded(&mut rig, 2_250));
    while rig.replica.is_expiring() {
        rig.replica.expire();
    }
    confirm(&mut rig);
    assert!(recorded(&mut rig, 2_260));
}
