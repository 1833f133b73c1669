//! The handling of events.

use streamwatch::domain::{
    Consistency, Entry, Internal, InternalEntry, StatusQuery, StatusRequest,
};

use crate::{event::Event, faults, plan::RUN_MS, players, requests::Body, world::World};

impl World {
    /// Defers an event of a stalled process.
    pub fn stalled(&self, event: &Event) -> Option<u64> {
        let worker = match event {
            Event::Connect { worker, .. }
            | Event::Tick { worker, .. }
            | Event::Deliver { worker, .. }
            | Event::Confirm { worker, .. }
            | Event::Snapshot { worker, .. }
            | Event::Copy { worker, .. }
            | Event::Announced { worker, .. }
            | Event::Hand { worker, .. } => *worker,
            _ => return None,
        };
        let until = self.workers[worker].stalled_until;
        (until > self.now).then_some(until)
    }

    pub fn happen(&mut self, event: Event) {
        let is_life = |w: &World, worker: usize, life| w.workers[worker].life == life;
        let is_current = |w: &World, worker: usize, c| w.workers[worker].connection == c;
        match event {
            Event::Start { worker, life } if is_life(self, worker, life) => {
                self.workers[worker].up = true;
                self.after(0, Event::Connect { worker, life });
                self.after(1, Event::Tick { worker, life });
                let snapshot_in = self.rng.u64(..2_000);
                self.after(snapshot_in, Event::Snapshot { worker, life });
            }
            Event::Connect { worker, life } if is_life(self, worker, life) => self.connect(worker),
            Event::Lose { worker, connection } if is_current(self, worker, connection) => {
                self.lose(worker);
            }
            Event::Tick { worker, life } if is_life(self, worker, life) => {
                self.tick(worker);
                let interval_ms = self.workers[worker].replica.interval_ms();
                self.after(interval_ms, Event::Tick { worker, life });
            }
            Event::Deliver { worker, connection } if is_current(self, worker, connection) => {
                self.deliver(worker);
            }
            Event::Confirm {
                worker,
                connection,
                seq,
                ok,
            } => {
                if is_current(self, worker, connection) {
                    let outcome = if ok { Ok(()) } else { Err(()) };
                    let received = self.workers[worker].told_unavailable;
                    let waits = !ok && self.workers[worker].strong_mark == Some(seq);
                    let clocks = self.workers[worker].clocks(self.now);
                    self.workers[worker].replica.appended(seq, outcome, clocks);
                    self.obey(worker);
                    assert!(
                        !ok || self.workers[worker].told_unavailable == received,
                        "unavailable before the entry was read back"
                    );
                    assert!(
                        !waits || self.workers[worker].told_unavailable > received,
                        "the requests did not become unavailable after the marker was lost"
                    );
                }
            }
            Event::Hand {
                worker,
                connection,
                request,
            } => {
                if is_current(self, worker, connection) {
                    self.hand(worker, request);
                }
            }
            Event::Leave { worker, life, away } if is_life(self, worker, life) => {
                self.crash(worker, away);
            }
            Event::Succeeded { heirs } => self.check_succeeded(&heirs),
            Event::Snapshot { worker, life } if is_life(self, worker, life) => {
                let every = self.plan.snapshot_every_ms;
                if every > 0 {
                    self.begin_snapshot(worker);
                    self.after(every, Event::Snapshot { worker, life });
                }
            }
            Event::Copy { worker, connection } if is_current(self, worker, connection) => {
                self.copy(worker);
            }
            Event::Publish { .. } => self.publish(event),
            Event::Announced {
                worker,
                connection,
                number,
                round,
                ok,
            } => {
                if is_current(self, worker, connection) {
                    self.announced(worker, number, round, ok);
                }
            }
            Event::Append {
                worker,
                connection,
                epoch,
                entry,
            } => {
                // An entry in transit at the loss of the connection may have arrived or not.
                if is_current(self, worker, connection) || self.rng.bool() {
                    // The time of a truncated log comes from a snapshot or its first reading, whose
                    // writer may still follow another log.
                    let it = &self.workers[worker];
                    let remembers = it.remembers.is_some_and(|g| g != self.log.generation);
                    let misled = self.observer.misled.is_some() && !it.history.is_whole();
                    let another = remembers || misled;
                    if epoch != self.log.epoch || another && self.log.first() > 0 {
                        self.take_foreign(&entry);
                    }
                    self.take(entry);
                }
            }
            Event::Serve => self.serve(),
            Event::Flush => self.flush(),
            Event::Do(deed) => self.do_deed(deed),
            Event::Retry { request, deed } => {
                if self.requests.get(request).is_some() {
                    self.do_deed(deed);
                }
            }
            Event::NewPlayer if self.now < RUN_MS => {
                let script =
                    players::scripts(&mut self.rng, &self.plan, &self.accounts, &mut self.streams);
                for (after, deed) in script {
                    self.after(after, Event::Do(deed));
                }
                let next = self.rng.u64(..2 * self.plan.player_every_ms);
                self.after(next, Event::NewPlayer);
            }
            Event::Question if self.now < RUN_MS => {
                let key = self.rng.choice(&self.accounts).expect("an account");
                let known = self.rng.choice(&self.streams);
                let question = StatusRequest {
                    key: key.clone(),
                    query: StatusQuery {
                        stream: known.filter(|(k, _)| k == key).map(|(_, stream)| *stream),
                        group_by: Vec::new(),
                        consistency: if self.rng.u8(..3) == 0 {
                            Consistency::Strong
                        } else {
                            Consistency::Local
                        },
                    },
                };
                self.requests.send(self.now, Body::Status(question));
                let next = self.rng.u64(..2 * self.plan.question_every_ms);
                self.after(next, Event::Question);
            }
            Event::Strike if self.now < RUN_MS => {
                faults::strike(self);
                let next = self.rng.u64(..2 * self.plan.fault_every_ms);
                self.after(next, Event::Strike);
            }
            _ => {}
        }
    }

    /// Handles an entry of a replica that follows a deleted log.
    fn take_foreign(&mut self, entry: &Entry) {
        let Entry::Internal(InternalEntry {
            writer_state: Some(writer_state),
            body,
            ..
        }) = entry
        else {
            return;
        };
        // Its record of publications is indistinguishable from this log's, if this one is as old.
        let latest = self.observer.log_ms().unwrap_or(0) + 2 * self.settings.interval_ms();
        if let Internal::Announced { up_to } = body
            && *up_to < self.log.end()
            && writer_state.estimate.0 <= latest
        {
            self.lifecycle.doubt();
        }
        self.observer.excuse_time(self.now);
    }
}
