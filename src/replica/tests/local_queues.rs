//! The local queues of workers that have ended.

use super::*;

/// A tick of another worker that consumes this queue.
fn tick(seq: u64, queue: Option<u64>, ms: u64) -> Entry {
    Entry::Internal(InternalEntry {
        entry_id: entry_id(99, seq),
        writer_state: Some(WorkerState {
            estimate: LogTime(ms),
            wall: WallTime(ms as i64),
            candidate_from: Some(9_000),
            leads: false,
            unannounced: 0,
            local_queue: queue,
        }),
        body: Internal::Tick(None),
    })
}

fn unbound(rig: &mut Rig) -> Vec<u64> {
    let unbound = |effect| match effect {
        Effect::Unbind(queues) => queues,
        _ => Vec::new(),
    };
    rig.effects().into_iter().flat_map(unbound).collect()
}

#[test]
fn the_leader_unbinds_the_queue_of_a_worker_whose_entries_end() {
    let mut rig = Rig::serving();
    rig.log.push(tick(1, Some(7), 50));
    rig.read(50);
    rig.rounds(0, 1_000);
    assert!(unbound(&mut rig).is_empty());
    rig.round(1_100);
    assert_eq!(unbound(&mut rig), [7]);
    rig.rounds(1_100, 3_000);
    assert!(unbound(&mut rig).is_empty(), "once");
}

#[test]
fn a_queue_that_its_worker_has_left_is_unbound_and_the_next_one_stays() {
    let mut rig = Rig::serving();
    rig.log.push(tick(1, Some(7), 0));
    rig.read(0);
    let mut all = Vec::new();
    for n in 1..=20 {
        rig.log.push(tick(1 + n, Some(8), n * 100));
        rig.round(n * 100);
        all.extend(unbound(&mut rig));
    }
    assert_eq!(all, [7]);
}

#[test]
fn a_worker_that_starts_unbinds_the_queue_of_its_predecessor() {
    let log = vec![declared(settings()), tick(1, Some(7), 50)];
    let mut rig = Rig::attached(1, log);
    rig.read(0);
    rig.rounds(0, 1_000);
    assert_eq!(unbound(&mut rig), [7]);
}

#[test]
fn a_worker_that_restores_a_snapshot_unbinds_the_queue_of_its_predecessor() {
    let mut rig = Rig::serving();
    rig.log.push(tick(1, Some(7), 50));
    rig.read(50);
    rig.rounds(100, 500);
    let copy = rig.copy(500, &[], &[]);
    let mut rig = rig.restored(copy).unwrap();
    rig.rounds(0, 900);
    assert!(unbound(&mut rig).is_empty());
    rig.rounds(900, 2_000);
    assert_eq!(unbound(&mut rig), [7]);
}

#[test]
fn a_replica_unbinds_nothing_while_it_does_not_lead_or_its_log_lags() {
    let mut rig = Rig::serving();
    rig.log.push(tick(1, Some(7), 50));
    rig.read(50);
    // Ticks are appended and not delivered.
    for n in 1..=20 {
        rig.tick(n * 100);
        rig.append();
    }
    assert!(unbound(&mut rig).is_empty());
    // Entries of the worker had waited in a buffer.
    rig.log.push(tick(2, Some(7), 60));
    rig.read(2_000);
    rig.rounds(2_000, 2_900);
    assert!(unbound(&mut rig).is_empty());
    rig.rounds(2_900, 3_100);
    assert_eq!(unbound(&mut rig), [7], "then it has ended");
}

#[test]
fn readings_contain_the_own_queue_at_once() {
    let mut rig = Rig::serving();
    rig.append();
    for (queue, appended) in [(Some(5), 1), (Some(5), 0), (Some(6), 1), (None, 0)] {
        rig.replica.consume_locally(queue, at(10));
        let entries = rig.append();
        assert_eq!(entries.len(), appended, "{queue:?}");
        for entry in entries {
            let Entry::Internal(InternalEntry { writer_state, .. }) = entry else {
                panic!("{entry:?}")
            };
            assert_eq!(writer_state.unwrap().local_queue, queue);
        }
    }
    let own = rig.replica.writer();
    rig.rounds(10, 500);
    let last = rig.log.last().cloned();
    let Some(Entry::Internal(InternalEntry {
        entry_id,
        writer_state,
        ..
    })) = last
    else {
        panic!("{last:?}")
    };
    assert_eq!(
        (entry_id.writer, writer_state.unwrap().local_queue),
        (own, None)
    );
}
