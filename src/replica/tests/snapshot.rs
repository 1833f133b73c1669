use std::ops::ControlFlow;

use super::*;
use crate::domain::{Announcement, Counters, SnapshotHeader, SnapshotTrailer, Stop};

/// The parts of a snapshot.
pub(super) type Copy = (
    SnapshotHeader,
    Vec<(AccountKey, u64, Account)>,
    SnapshotTrailer,
    Vec<Announcement>,
);

impl Rig {
    pub(super) fn publish(&mut self, now: u64, entries: &[Entry]) {
        self.log.extend_from_slice(entries);
        self.read(now);
    }

    /// Takes a snapshot of the replica. `meanwhile` runs after the start, before any account is
    /// copied, and `behind` after the last account.
    pub(super) fn copy(&mut self, now: u64, meanwhile: &[Entry], behind: &[Entry]) -> Copy {
        let header = self.replica.begin_snapshot().unwrap();
        self.publish(now, meanwhile);
        let accounts = self.accounts();
        self.publish(now, behind);
        let (trailer, unannounced) = self.replica.end_snapshot().unwrap();
        (header, accounts, trailer, unannounced)
    }

    /// Copies the accounts that have not been copied.
    fn accounts(&mut self) -> Vec<(AccountKey, u64, Account)> {
        let mut accounts = Vec::new();
        self.replica.copy_accounts(|key, last, account| {
            accounts.push((key.clone(), last, account.clone()));
            ControlFlow::Continue(())
        });
        accounts
    }

    /// Another replica, restored from a snapshot, which has read all of the log.
    pub(super) fn restored(&self, copy: Copy) -> Result<Self, Fault> {
        let mut rig = Self {
            replica: Replica::new(7),
            log: self.log.clone(),
            next: 0,
            others: Vec::new(),
        };
        let (header, accounts, trailer, unannounced) = copy;
        let start = header.start;
        let mut restoring = Restoring::new(header).unwrap();
        for (key, last, account) in accounts {
            assert!(restoring.account(key, last, account));
        }
        restoring.unannounced(unannounced);
        rig.replica.restore(restoring, trailer);
        assert_eq!(rig.replica.attach(), StartAt::Offset(start));
        rig.replica.attached(at(0));
        rig.append();
        // Deliveries start with the chunk of the offset.
        rig.next = start.saturating_sub(2) as usize;
        while rig.next < rig.log.len() {
            let (offset, entry) = (rig.next as u64, rig.log[rig.next].clone());
            rig.next += 1;
            rig.replica.apply(offset, &entry, at(0))?;
        }
        Ok(rig)
    }
}

fn stop(account: &str, n: u128) -> Entry {
    Entry::Player {
        key: key(account),
        event: Stop::of(id(n)).into(),
    }
}

pub(super) fn assert_same(one: &Rig, other: &Rig) {
    for account in ["alice", "bob", "carol", "dave"] {
        let of = |rig: &Rig| rig.replica.account(&key(account));
        assert_eq!(of(one), of(other), "{account}");
    }
    assert_eq!(one.replica.totals(), other.replica.totals());
    assert_eq!(one.replica.levels(), other.replica.levels());
    assert_eq!(one.replica.counters(), other.replica.counters());
    assert_eq!(one.replica.log_time(), other.replica.log_time());
    assert_eq!(one.replica.settings(), other.replica.settings());
    let buffered = |rig: &Rig| {
        let announcements = rig.replica.announcements.buffered();
        announcements.cloned().collect::<Vec<_>>()
    };
    assert_eq!(buffered(one), buffered(other));
}

/// A replica that has served for a second.
fn serving() -> Rig {
    let mut rig = Rig::serving();
    rig.publish(
        0,
        &[
            heartbeat("alice", 1),
            heartbeat("alice", 2),
            heartbeat("bob", 3),
        ],
    );
    rig.publish(0, &[stop("alice", 2)]);
    rig.rounds(0, 1_000);
    rig
}

#[test]
fn a_snapshot_taken_while_entries_are_applied_restores_the_same_state() {
    let mut rig = serving();
    let meanwhile = [
        heartbeat("bob", 3),
        stop("alice", 1),
        heartbeat("carol", 4),
        heartbeat("dave", 5),
        stop("dave", 5),
    ];
    let behind = [
        heartbeat("alice", 1),
        heartbeat("alice", 6),
        stop("carol", 4),
    ];
    let copy = rig.copy(1_000, &meanwhile, &behind);
    rig.publish(1_000, &[heartbeat("dave", 8), heartbeat("carol", 4)]);
    rig.rounds(1_000, 1_200);
    let other = rig.restored(copy).unwrap();
    rig.publish(1_200, &other.log[rig.log.len()..]);
    assert_same(&rig, &other);
    assert!(other.replica.has_caught_up());
}

#[test]
fn a_snapshot_restores_truncated_entries() {
    let mut rig = serving();
    let copy = rig.copy(1_000, &[], &[]);
    let first = copy.0.start as usize;
    // The log is truncated: only the snapshot contains alice.
    let keep = rig.log[first].clone();
    rig.log[..first].fill(keep);
    let other = rig.restored(copy).unwrap();
    let alice = other.replica.account(&key("alice")).unwrap();
    assert_eq!(alice.state_of(id(1), LogTime(1_000)), StreamState::Active);
    assert_eq!(alice.state_of(id(2), LogTime(1_000)), StreamState::Stopped);
}

#[test]
fn a_restored_replica_skips_entries_that_an_empty_account_had_ignored() {
    let mut rig = Rig::serving();
    rig.publish(0, &[heartbeat("alice", 1)]);
    rig.rounds(0, 4_100); // removed at 4,200
    let header = rig.replica.begin_snapshot().unwrap();
    rig.publish(4_100, &[stop("alice", 1)]);
    rig.rounds(4_100, 25_000); // the tombstone too
    let accounts = rig.accounts();
    assert_eq!(accounts.len(), 1, "kept while it is copied");
    let (trailer, unannounced) = rig.replica.end_snapshot().unwrap();
    assert_eq!(rig.replica.account(&key("alice")), None, "freed");
    let other = rig.restored((header, accounts, trailer, unannounced));
    assert_eq!(other.unwrap().replica.account(&key("alice")), None);
}

#[test]
fn a_restored_replica_skips_entries_that_had_changed_nothing() {
    let again = |seq| {
        let body = Internal::Open(Box::new(Open {
            key: key("alice"),
            stream: id(2),
            request: RequestId(Uuid::from_u128(2)),
            not_after: LogTime(u64::MAX),
            max_active: Some(1),
            replace: Vec::new(),
            metadata: Metadata::default(),
            terms: None,
        }));
        foreign(seq, body)
    };
    let mut rig = Rig::serving();
    rig.publish(0, &[heartbeat("alice", 1), again(5)]);
    // By then alice has no stream, and the refusal is stored for a short time more.
    let stored_ms = settings().refusal_ms();
    rig.rounds(0, stored_ms - INTERVAL);
    let header = rig.replica.begin_snapshot().unwrap();
    rig.publish(stored_ms - INTERVAL, &[again(6)]);
    rig.rounds(stored_ms - INTERVAL, stored_ms + 2 * INTERVAL);
    let accounts = rig.accounts();
    let (trailer, unannounced) = rig.replica.end_snapshot().unwrap();
    let other = rig.restored((header, accounts, trailer, unannounced));
    assert_same(&rig, &other.unwrap());
}

#[test]
fn a_snapshot_of_another_log_is_discarded() {
    let mut rig = serving();
    let copy = rig.copy(1_000, &[], &[]);
    let start = copy.0.start as usize;
    rig.log[start] = foreign(5, Internal::Tick(None));
    assert_eq!(rig.restored(copy).err(), Some(Fault::AnotherLog));
}

#[test]
fn a_snapshot_with_more_entries_than_the_log_is_discarded() {
    let mut rig = serving();
    let (header, ..) = rig.copy(1_000, &[], &[]);
    let copy = rig.copy(1_000, &[heartbeat("alice", 1)], &[stop("bob", 3)]);
    assert_eq!(copy.0, header);
    // The broker has lost the entries after the start of the snapshot.
    rig.log.truncate(header.start as usize + 1);
    assert_eq!(rig.restored(copy).err(), Some(Fault::AnotherLog));
}

#[test]
fn a_snapshot_with_other_entries_than_the_log_is_discarded() {
    let mut rig = serving();
    let header = rig.replica.begin_snapshot().unwrap();
    rig.round(1_100);
    let (trailer, _) = rig.replica.end_snapshot().unwrap();
    assert!(trailer.last > header.start);
    // The broker has lost the last entries and has stored others since.
    rig.log.truncate(trailer.last as usize);
    for seq in 0..9 {
        rig.log.push(foreign(10 + seq, Internal::Tick(None)));
    }
    let copy = (header, Vec::new(), trailer, Vec::new());
    assert_eq!(rig.restored(copy).err(), Some(Fault::AnotherLog));
}

#[test]
fn a_replica_that_has_not_caught_up_takes_no_snapshot() {
    let mut rig = Rig::attached(1, vec![declared(settings())]);
    assert!(rig.replica.begin_snapshot().is_none());
    rig.read(0);
    assert!(rig.replica.begin_snapshot().is_some());
}

#[test]
fn a_snapshot_with_unknown_rules_is_not_restored() {
    let (mut header, ..) = serving().copy(1_000, &[], &[]);
    header.settings.rules = Rules::NEWEST.number() + 1;
    let unknown = Fault::UnknownRules(Rules::NEWEST.number() + 1);
    assert_eq!(Restoring::new(header).err(), Some(unknown));
}

#[test]
fn a_log_that_lost_its_settings_gets_those_of_the_last_snapshot() {
    let rig = serving();
    let (header, ..) = { rig }.copy(1_000, &[], &[]);
    let settings = Settings {
        number: 4,
        ..header.settings.clone()
    };
    let header = SnapshotHeader { settings, ..header };
    for (first, reminded) in [(1_000, true), (0, false)] {
        let mut replica: Replica<()> = Replica::new(7);
        let trailer = SnapshotTrailer {
            end: header.start,
            last: header.start,
            last_entry_id: header.entry_id,
            trail: 0,
            announced: None,
            counters: Counters::default(),
        };
        replica.restore(Restoring::new(header.clone()).unwrap(), trailer);
        replica.attach();
        replica.attached(at(0));
        let lost = replica.apply(first + 100, &heartbeat("alice", 1), at(0));
        assert_eq!(lost, Err(Fault::AnotherLog));

        assert_eq!(replica.attach(), StartAt::First);
        replica.attached(at(0));
        replica.apply(first, &heartbeat("alice", 1), at(0)).unwrap();
        let mut next = first;
        let mut appended = 0;
        while let [Effect::Append(entry)] = &replica.take_effects()[..] {
            next += 1;
            appended += 1;
            replica
                .apply(next, &Entry::Internal(entry.clone()), at(0))
                .unwrap();
        }
        assert_eq!(appended, if reminded { 2 } else { 1 });
        let known = reminded.then_some(&header.settings);
        assert_eq!(replica.settings(), known);
        assert_eq!(replica.log_time(), reminded.then_some(header.now));
        // The replica serves after a marker was read back.
        replica.tick(at(100)).unwrap();
        while let [Effect::Append(entry), ..] = &replica.take_effects()[..] {
            next += 1;
            replica
                .apply(next, &Entry::Internal(entry.clone()), at(100))
                .unwrap();
        }
        assert_eq!(replica.has_caught_up(), reminded);
    }
}
