//! Actions of the leader, and their outcomes: snapshots and lifecycle events.

use std::ops::ControlFlow;

use streamwatch::domain::{Announcement, Settings};

use crate::{event::Event, plan::RUN_MS, snapshots::Snapshot, worker::History, world::World};

/// A snapshot being written.
pub struct Copying {
    snapshot: Snapshot,
    /// Whether all accounts have been copied.
    all: bool,
}

impl World {
    /// A worker shuts down: it appends its departure and stops soon after.
    pub fn leave(&mut self, w: usize, away: u64) {
        let led = self.workers[w].replica.leads();
        let clocks = self.workers[w].clocks(self.now);
        self.workers[w].replica.leave(clocks);
        // A successor that shuts down as well is no longer expected to lead.
        self.workers[w].steady = None;
        self.obey(w);
        let life = self.workers[w].life;
        let on_its_way = self.delay_ms();
        let worker = w;
        self.after(on_its_way + 1, Event::Leave { worker, life, away });
        if led && self.plan.is_swift() {
            let interval_ms = Settings::interval_for(self.widest_ttl_ms);
            let heirs = (0..self.workers.len()).filter(|heir| *heir != w);
            let heirs = heirs.filter(|heir| self.workers[*heir].is_steady(self.now, interval_ms));
            let heirs: Vec<_> = heirs
                .map(|heir| (heir, self.workers[heir].connection))
                .collect();
            // A stopped worker counts as alive for three intervals.
            if !heirs.is_empty() && heirs.len() + 1 == self.workers.len() {
                self.after(3 * on_its_way + 2, Event::Succeeded { heirs });
            }
        }
    }

    /// Checks that a leader that shuts down has a successor as soon as the others have read it.
    pub fn check_succeeded(&mut self, heirs: &[(usize, u32)]) {
        let interval_ms = Settings::interval_for(self.widest_ttl_ms);
        let steady = |(heir, connection): &(usize, u32)| {
            let heir = &self.workers[*heir];
            heir.connection == *connection && heir.is_steady(self.now, interval_ms)
        };
        if self.observer.misled != Some(u64::MAX) && heirs.iter().all(steady) {
            self.counted.succeeded += 1;
            let leads = self.workers.iter().any(|worker| worker.replica.leads());
            assert!(leads, "no worker succeeds the leader that has left");
        }
    }

    /// Starts a snapshot.
    pub fn begin_snapshot(&mut self, w: usize) {
        let worker = &mut self.workers[w];
        if !worker.replica.leads() || worker.copying.is_some() {
            return;
        }
        let Some(header) = worker.replica.begin_snapshot() else {
            return;
        };
        worker.copying = Some(Copying {
            snapshot: Snapshot {
                id: self.snapshots.next_id(),
                history: worker.history,
                header,
                accounts: Vec::new(),
                unannounced: Vec::new(),
                trailer: None,
                damaged: false,
                diverged: None,
            },
            all: false,
        });
        self.copy_later(w);
    }

    fn copy_later(&mut self, w: usize) {
        let connection = self.workers[w].connection;
        let after = self.rng.u64(..=self.plan.copy_ms);
        let worker = w;
        self.after(after, Event::Copy { worker, connection });
    }

    /// Copies the next accounts. After the last one, the snapshot is complete.
    pub fn copy(&mut self, w: usize) {
        let Some(mut copying) = self.workers[w].copying.take() else {
            return;
        };
        // A snapshot never contains a partial expiry.
        if self.workers[w].replica.is_expiring() {
            self.workers[w].copying = Some(copying);
            return self.copy_later(w);
        }
        if !copying.all {
            let most = self.rng.usize(1..4);
            let accounts = &mut copying.snapshot.accounts;
            let before = accounts.len();
            let replica = &mut self.workers[w].replica;
            replica.copy_accounts(|key, last, account| {
                accounts.push((key.clone(), last, account.clone()));
                if accounts.len() - before < most {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            copying.all = accounts.len() == before;
        }
        // Other entries may be applied before the snapshot is complete.
        if !copying.all || self.rng.bool() {
            self.workers[w].copying = Some(copying);
            return self.copy_later(w);
        }
        let mut snapshot = copying.snapshot;
        if let Some((trailer, unannounced)) = self.workers[w].replica.end_snapshot() {
            snapshot.trailer = Some(trailer);
            snapshot.unannounced = unannounced;
        }
        let one_in = self.plan.damaged_one_in;
        snapshot.damaged = one_in > 0 && self.rng.u64(..one_in) == 0;
        self.trace(|| format!("{w} wrote a snapshot: {:?}", snapshot.trailer));
        self.counted.snapshots += 1;
        self.snapshots.push(snapshot);
    }

    /// Abandons a snapshot, because the writer or its connection is lost. Its parts remain.
    pub fn abandon_snapshot(&mut self, w: usize) {
        if let Some(copying) = self.workers[w].copying.take() {
            let _ = self.workers[w].replica.end_snapshot();
            self.snapshots.push(copying.snapshot);
        }
    }

    /// Restores the newest snapshot that was not rejected, if the replica is blank.
    pub fn restore(&mut self, w: usize) {
        let worker = &mut self.workers[w];
        if !worker.replica.is_blank() {
            return;
        }
        worker.complete_from = 0;
        worker.diverged = None;
        worker.restored = None;
        let Some(snapshot) = self.snapshots.newest(&worker.rejected) else {
            return;
        };
        let (Some(trailer), Some(copy)) = (snapshot.trailer, snapshot.read()) else {
            return;
        };
        worker.replica.restore(copy, trailer);
        worker.restored = Some(snapshot.id);
        worker.remembers = Some(snapshot.history.generation);
        worker.history = snapshot.history;
        worker.diverged.clone_from(&snapshot.diverged);
        worker.complete_from = trailer.end + 1;
    }

    /// Publishes a lifecycle event. Events of one connection reach the broker in order.
    pub fn announce(&mut self, w: usize, number: u64, announcement: Box<Announcement>) {
        let delay = self.rng.u64(..=self.delay_ms());
        let worker = &mut self.workers[w];
        let at = worker.last_announcement.max(self.now + delay);
        worker.last_announcement = at;
        worker.last_number = number;
        let publish = Event::Publish {
            worker: w,
            connection: worker.connection,
            number,
            round: worker.announce_round,
            history: worker.history,
            announcement,
        };
        self.after(at - self.now, publish);
    }

    /// Handles a lifecycle event that reaches the broker, or is lost.
    pub fn publish(&mut self, sent: Event) {
        let Event::Publish {
            worker: w,
            connection,
            number,
            round,
            history,
            announcement,
        } = sent
        else {
            return;
        };
        let of = (connection, round);
        let one_in = self.plan.announce_fails_one_in;
        let worker = &mut self.workers[w];
        if worker.connection != connection {
            // Of a lost connection, a prefix of the events reaches the broker.
            if worker.cut != Some(of) && self.rng.bool() {
                self.published(history, &announcement);
            } else {
                self.workers[w].cut = Some(of);
            }
            return;
        }
        let fails = one_in > 0 && self.now < RUN_MS && self.rng.u64(..one_in) == 0;
        if fails && self.rng.bool() {
            worker.cut = Some(of);
        }
        let lost = worker.cut == Some(of);
        let delay = self.rng.u64(..=self.delay_ms());
        let worker = &mut self.workers[w];
        let at = worker.last_outcome.max(self.now + delay);
        worker.last_outcome = at;
        if !lost {
            self.published(history, &announcement);
        }
        let ok = !lost && !fails; // it may have been taken, and be reported lost
        let outcome = Event::Announced {
            worker: w,
            connection,
            number,
            round,
            ok,
        };
        self.after(at - self.now, outcome);
    }

    fn published(&mut self, history: History, announcement: &Announcement) {
        if history.generation != self.log.generation {
            return; // of a deleted log
        }
        self.counted.announced += 1;
        if history.is_whole() {
            self.lifecycle.published(announcement);
        } else {
            // A replica without the log's beginning has a different past, and may omit events.
            self.lifecycle.doubt();
        }
    }

    /// Handles the outcome of a lifecycle event at the leader.
    pub fn announced(&mut self, w: usize, number: u64, round: u32, ok: bool) {
        let worker = &mut self.workers[w];
        let cut = !ok && worker.cut == Some((worker.connection, round));
        if !cut {
            worker
                .replica
                .announced(number, if ok { Ok(()) } else { Err(()) });
        } else if round == worker.announce_round {
            // All events in flight fail at once, and those sent before it noticed.
            for number in number..=worker.last_number {
                worker.replica.announced(number, Err(()));
            }
            self.obey(w);
            self.workers[w].announce_round += 1;
        }
        self.obey(w);
    }
}
