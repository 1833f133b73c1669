//! The worker around a replica: connects, passes entries and executes effects. Checks each step of
//! a replica.

use std::rc::Rc;

use streamwatch::{
    domain::{Answer, Consistency, Entry, Internal, InternalEntry, Settings},
    replica::{Applied, Effect, Fault, Now, Replica, StartAt},
};

use crate::{
    answers::Answered,
    batches::{WRONG_PARTITION, elsewhere, is_here},
    event::Event,
    plan::RUN_MS,
    requests::Body,
    row::row,
    tenants::ABOUT_TENANT,
    worker::{Delivery, History},
    world::World,
};

/// Passes an entry to a replica, as a worker does.
pub fn apply<T>(
    replica: &mut Replica<T>,
    offset: u64,
    entry: &Entry,
    now: Now,
) -> Result<Applied, Fault> {
    match entry {
        Entry::Batch(batch) if !is_here(batch) => {
            replica.skip(offset, WRONG_PARTITION, now)?;
            Ok(Applied::Skipped)
        }
        _ => replica.apply(offset, entry, now),
    }
}

impl World {
    pub fn connect(&mut self, w: usize) {
        self.restore(w);
        let worker = &mut self.workers[w];
        let start = worker.replica.attach();
        worker.connection += 1;
        worker.attached = Some(self.log.generation);
        worker.epoch = self.log.epoch;
        worker.same_log = match start {
            StartAt::First => false,
            StartAt::Offset(offset) => {
                let there = self.log.from(offset).next().map(|(first, _)| first);
                let same =
                    worker.history.generation == self.log.generation && worker.diverged.is_none();
                same && there == Some(offset)
            }
        };
        worker.from = match start {
            StartAt::First => {
                worker.history = History {
                    generation: self.log.generation,
                    start: None,
                };
                0
            }
            // A chunk may start at any entry.
            StartAt::Offset(offset) if offset < self.log.end() => {
                offset.saturating_sub(self.rng.u64(..4))
            }
            StartAt::Offset(offset) => offset,
        };
        let there = self.log.from(worker.from).map(|(o, e)| (o, Rc::clone(e)));
        for (offset, entry) in there.collect::<Vec<_>>() {
            self.send(w, offset, entry);
        }
        let clocks = self.workers[w].clocks(self.now);
        self.workers[w].replica.attached(clocks);
        self.obey(w);
    }

    pub fn lose(&mut self, w: usize) {
        if self.workers[w].attached.is_none() {
            return;
        }
        self.abandon_snapshot(w);
        self.workers[w].replica.detach();
        self.workers[w].lose_connection();
        self.requests.put_back_all_of(w);
        let life = self.workers[w].life;
        let backoff = self.rng.u64(10..1_000);
        self.after(backoff, Event::Connect { worker: w, life });
    }

    pub fn crash(&mut self, w: usize, away: u64) {
        self.abandon_snapshot(w);
        let writer = self.rng.u64(..);
        let worker = &mut self.workers[w];
        worker.die(writer);
        worker
            .replica
            .expire_per_entry(self.plan.expiries_per_entry);
        let life = worker.life;
        self.requests.put_back_all_of(w);
        self.after(away, Event::Start { worker: w, life });
    }

    fn fail(&mut self, w: usize, fault: Fault) {
        self.trace(|| format!("{w}: {fault}"));
        if fault == Fault::AnotherLog {
            self.counted.started_over += 1;
            let worker = &mut self.workers[w];
            worker.diverged = None;
            worker.rejected.extend(worker.restored.take());
        }
        self.lose(w);
    }

    pub fn tick(&mut self, w: usize) {
        let clocks = self.workers[w].clocks(self.now);
        if self.rng.bool() {
            self.workers[w].replica.expire();
        }
        if let Err(fault) = self.workers[w].replica.tick(clocks) {
            return self.fail(w, fault);
        }
        self.obey(w);
        self.about_tenants(w);
        let worker = &mut self.workers[w];
        let follows = worker.attached == Some(self.log.generation)
            && worker.history.generation == self.log.generation;
        let log_ms = self.observer.log_ms();
        match (worker.replica.has_caught_up() && follows, log_ms) {
            (true, Some(log_ms)) => {
                let (since, log_since) = *worker.steady.get_or_insert((self.now, log_ms));
                if self.plan.is_swift() && self.observer.misled != Some(u64::MAX) {
                    let (passed, moved) = (self.now - since, log_ms - log_since);
                    let lag = 6 * Settings::interval_for(self.widest_ttl_ms);
                    assert!(
                        moved + lag >= passed,
                        "log time moved {moved} ms in {passed} ms"
                    );
                }
            }
            _ => worker.steady = None,
        }
        self.check_full(w);
    }

    pub fn deliver(&mut self, w: usize) {
        while self.workers[w]
            .inbox
            .front()
            .is_some_and(|d| d.due <= self.now)
            && let Some(delivery) = self.workers[w].inbox.pop_front()
        {
            if let Err(fault) = self.apply(w, &delivery) {
                let known = self.workers[w].same_log;
                assert!(
                    !known,
                    "worker {w} threw its state away for nothing: {fault}"
                );
                return self.fail(w, fault);
            }
            self.obey(w);
            self.check_caught_up(w);
        }
    }

    fn check_caught_up(&mut self, w: usize) {
        let worker = &mut self.workers[w];
        if worker.attached.is_some() && worker.replica.has_caught_up() {
            if let Some(lost) = worker.diverged.take() {
                let same = lost.came_again(&self.log);
                assert!(same, "worker {w} continues with lost entries");
            }
            if worker.restored.take().is_some() {
                self.counted.restored += 1;
            }
        }
    }

    fn apply(&mut self, w: usize, delivery: &Delivery) -> Result<(), Fault> {
        let worker = &mut self.workers[w];
        let (offset, entry) = (delivery.offset, &delivery.entry);
        let before = worker.replica.applied();
        let clocks = worker.clocks(self.now);
        let applied = apply(&mut worker.replica, offset, entry, clocks)?;
        let elsewhere = worker.replica.account(&elsewhere());
        assert_eq!(elsewhere, None, "an account of another partition");
        if worker.replica.applied() == before {
            return Ok(());
        }
        assert_eq!(
            delivery.generation, worker.history.generation,
            "a replica went on with another log"
        );
        worker.history.start.get_or_insert(offset);
        if let Entry::Internal(InternalEntry { entry_id, .. }) = &**entry
            && entry_id.writer == worker.writer
            && worker
                .strong_mark
                .is_some_and(|strong| strong <= entry_id.seq)
        {
            worker.strong_mark = None;
        }
        let incomplete = worker.diverged.is_some() || offset < worker.complete_from;
        if delivery.generation != self.observer.generation || incomplete {
            return Ok(());
        }
        self.counted.remembered += u64::from(
            worker.complete_from > 0 && worker.history.is_whole() && self.log.first() > 0,
        );
        // Replicas have equal states at equal offsets.
        self.counted.compared += 1;
        let taken = &self.observer.rows[offset as usize];
        let known = taken.all.as_ref().map_or(0, Vec::len);
        let keys = &self.observer.keys[..known];
        let mut made = row(&worker.replica, taken.at, offset, entry, applied, keys);
        if worker.replica.is_expiring() {
            // Its counters of expiries are updated later.
            if !worker.history.is_whole() {
                return Ok(());
            }
            self.counted.expiring += 1;
            made.counters = taken.counters;
        }
        let expected = if worker.history.is_whole() {
            taken
        } else {
            // It lacks start times, tombstones and refusals of the log's beginning, so it is
            // compared with replicas that started at the same entry.
            let of = (worker.history, offset);
            self.partial.entry(of).or_insert_with(|| made.clone())
        };
        assert_eq!(made, *expected, "worker {w} at offset {offset}: {entry:?}");
        Ok(())
    }

    /// Executes the replica's effects.
    pub fn obey(&mut self, w: usize) {
        for effect in self.workers[w].replica.take_effects() {
            match effect {
                Effect::AnswerTenant { answer, .. } => self.tenant_answer(w, &answer),
                Effect::Late(ABOUT_TENANT) | Effect::Release(ABOUT_TENANT) => {}
                Effect::Append(entry) => self.append(w, entry),
                Effect::Answer {
                    request, answer, ..
                } => self.answer(w, request, &answer),
                Effect::Unavailable(request) => {
                    self.workers[w].told_unavailable += 1;
                    self.requests.acknowledge(request);
                }
                Effect::Late(request) => {
                    self.requests.acknowledge(request);
                }
                Effect::OldRules { request, .. } => {
                    let rules = self.workers[w].replica.settings().map(|s| s.rules);
                    assert_eq!(rules, Some(1), "rejected for old rules");
                    self.counted.old_rules += 1;
                    self.requests.acknowledge(request);
                }
                Effect::Release(request) => self.requests.put_back(request),
                Effect::Announce {
                    number,
                    announcement,
                } => self.announce(w, number, announcement),
                Effect::Unbind(_) => {}
                Effect::Leads(leads) => self.trace(|| format!("{w} leads: {leads}")),
                Effect::Pause => {
                    self.workers[w].taking = false;
                    self.workers[w].strong_mark = None;
                }
                Effect::Resume => self.workers[w].taking = true,
            }
        }
    }

    fn append(&mut self, w: usize, entry: InternalEntry) {
        let seq = entry.entry_id.seq;
        // A replica that has just caught up appends such a marker too, without a pending request.
        if entry.body == Internal::Tick(None) && self.workers[w].taking {
            self.workers[w].strong_mark = Some(seq);
        }
        let delay = self.rng.u64(..=self.delay_ms());
        let worker = &mut self.workers[w];
        let at = worker.last_append.max(self.now + delay);
        worker.last_append = at;
        let connection = worker.connection;
        let confirm = |ok| Event::Confirm {
            worker: w,
            connection,
            seq,
            ok,
        };
        let append = Event::Append {
            worker: w,
            connection,
            epoch: worker.epoch,
            entry: Rc::new(Entry::Internal(entry)),
        };
        let one_in = self.plan.append_fails_one_in;
        let fails = one_in > 0 && self.now < RUN_MS && self.rng.u64(..one_in) == 0;
        let fate = if fails { self.rng.u8(..3) } else { 9 };
        let after = at - self.now;
        // The publisher rejects it at once, or times out.
        let timeout = match self.rng.bool() {
            true => self.rng.u64(1..50),
            false => self.rng.u64(300..3_000),
        };
        let back = self.rng.u64(..=self.delay_ms());
        match fate {
            1 => {
                self.after(after, append);
                self.after(after + timeout, confirm(false)); // stored, and reported lost
            }
            2 => {
                self.after(after, append);
                self.after(after + 10_000, confirm(false)); // stored, and never confirmed
            }
            _ => {
                self.after(after, append);
                self.after(after + back, confirm(true));
            }
        }
    }

    fn answer(&mut self, w: usize, id: u64, answer: &Answer) {
        let bounds = self.bounds();
        let worker = &self.workers[w];
        let Some(request) = self.requests.get(id) else {
            panic!("answered twice: {id}")
        };
        Answered {
            replica: &worker.replica,
            history: worker.history,
            request,
            answer,
            now: self.now,
        }
        .check(&self.observer, &bounds);
        match (answer, &request.body) {
            (Answer::Opened { .. }, _) => self.counted.opened += 1,
            (Answer::Refused { .. }, _) => self.counted.refused += 1,
            (_, Body::Status(q)) if q.query.consistency == Consistency::Strong => {
                self.counted.strong += 1;
            }
            _ => self.counted.local += 1,
        }
        let one_in = self.plan.redelivered_one_in;
        if one_in > 0 && self.rng.u64(..one_in) == 0 {
            self.requests.put_back(id); // the acknowledgement was lost
        } else {
            self.requests.acknowledge(id);
        }
    }

    pub fn hand(&mut self, w: usize, id: u64) {
        let Some(request) = self.requests.get(id) else {
            return;
        };
        request.received = Some((self.now, self.log.epoch, self.log.end()));
        let clocks = self.workers[w].clocks(self.now);
        match request.body.clone() {
            Body::Init(init) => self.workers[w].replica.init(id, init, clocks),
            Body::Status(question) => self.workers[w].replica.status(id, question, clocks),
        }
        self.obey(w);
    }
}
