//! The world: true time, the log, the workers, and what is on its way between them.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use fastrand::Rng;
use streamwatch::domain::{
    AccountId, AccountKey, Consistency, Entry, Settings, StatusRequest, Tenant,
};

use crate::{
    answers::Bounds,
    counted::Counted,
    event::Event,
    faults,
    lifecycle::Lifecycle,
    log::Log,
    observer::{Observer, Row},
    plan::{Plan, RUN_MS, SETTLE_MS},
    players::{self, Deed},
    requests::{Body, Requests},
    snapshots::Snapshots,
    worker::{Delivery, History, Worker},
};

pub struct World {
    pub rng: Rng,
    pub plan: Plan,
    pub now: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    pub log: Log,
    pub observer: Observer,
    pub lifecycle: Lifecycle,
    pub snapshots: Snapshots,
    /// The worker that holds the lease, as the broker sees it.
    pub lease: Option<usize>,
    pub workers: Vec<Worker>,
    pub requests: Requests,
    pub settings: Settings,
    pub settings_changed: bool,
    pub widest_ttl_ms: u64,
    pub mono_steps: u64,
    /// What replicas whose history is not whole made of each entry.
    pub partial: HashMap<(History, u64), Row>,
    accounts: Vec<AccountKey>,
    streams: Vec<(AccountKey, streamwatch::domain::StreamId)>,
    tracing: bool,
    pub counted: Counted,
}

impl World {
    pub fn new(seed: u64, tracing: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::new(&mut rng);
        if tracing {
            println!("{plan:#?}");
        }
        let account = |n: usize| {
            let tenant = Tenant::new("acme").expect("a tenant");
            AccountKey::new(
                &tenant,
                &AccountId::new(&n.to_string()).expect("an account"),
            )
        };
        let log = Log::default();
        let mut world = Self {
            now: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            observer: Observer::new(&log, 2 * plan.settings.interval_ms()),
            log,
            lifecycle: Lifecycle::default(),
            snapshots: Snapshots::default(),
            lease: None,
            workers: (0..plan.workers).map(|_| Worker::new(&mut rng)).collect(),
            requests: Requests::default(),
            settings: plan.settings.clone(),
            settings_changed: false,
            widest_ttl_ms: plan.settings.ttl_ms,
            mono_steps: 0,
            partial: HashMap::new(),
            accounts: (0..plan.accounts).map(account).collect(),
            streams: Vec::new(),
            tracing,
            counted: Counted::default(),
            plan,
            rng,
        };
        faults::append_settings(&mut world);
        for worker in 0..world.workers.len() {
            world.after(0, Event::Start { worker, life: 0 });
        }
        for event in [
            Event::Serve,
            Event::NewPlayer,
            Event::Question,
            Event::Strike,
        ] {
            world.after(1_000, event);
        }
        world
    }

    pub fn run(mut self) -> Counted {
        while let Some(((at, number), event)) = self.events.pop_first() {
            if at > RUN_MS + SETTLE_MS {
                break;
            }
            self.now = at;
            if let Some(until) = self.stalled(&event) {
                self.events.insert((until, number), event);
                continue;
            }
            self.trace(|| format!("{event:?}"));
            self.happen(event);
        }
        self.check_all_is_well();
        self.counted.repeated = self.lifecycle.repeats();
        self.counted
    }

    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.tracing {
            println!("{} {}", self.now, what());
        }
    }

    pub fn after(&mut self, ms: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + ms, self.scheduled), event);
    }

    /// A process that stands still learns of everything later.
    fn stalled(&self, event: &Event) -> Option<u64> {
        let worker = match event {
            Event::Connect { worker, .. }
            | Event::Tick { worker, .. }
            | Event::Deliver { worker, .. }
            | Event::Confirm { worker, .. }
            | Event::Lease { worker, .. }
            | Event::Unlead { worker, .. }
            | Event::Snapshot { worker, .. }
            | Event::Copy { worker, .. }
            | Event::Announced { worker, .. }
            | Event::Hand { worker, .. } => *worker,
            _ => return None,
        };
        let until = self.workers[worker].stalled_until;
        (until > self.now).then_some(until)
    }

    fn happen(&mut self, event: Event) {
        let is_life = |w: &World, worker: usize, life| w.workers[worker].life == life;
        let is_current = |w: &World, worker: usize, c| w.workers[worker].connection == c;
        match event {
            Event::Start { worker, life } if is_life(self, worker, life) => {
                self.workers[worker].up = true;
                self.after(0, Event::Connect { worker, life });
                self.after(1, Event::Tick { worker, life });
                let lease_in = self.rng.u64(..500);
                self.after(lease_in, Event::Lease { worker, life });
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
                    let told = self.workers[worker].told_unavailable;
                    let waits = !ok && self.workers[worker].strong_mark == Some(seq);
                    let clocks = self.workers[worker].clocks(self.now);
                    self.workers[worker].replica.appended(seq, outcome, clocks);
                    self.obey(worker);
                    assert!(
                        !ok || self.workers[worker].told_unavailable == told,
                        "told before the entry came back"
                    );
                    assert!(
                        !waits || self.workers[worker].told_unavailable > told,
                        "those who asked are not told that the mark was lost"
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
            Event::Lease { worker, life } if is_life(self, worker, life) => {
                self.try_lease(worker);
                self.after(500, Event::Lease { worker, life });
            }
            Event::Unlead { worker, connection } if is_current(self, worker, connection) => {
                if self.lease != Some(worker) {
                    self.lead(worker, false);
                }
            }
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
                // What was on its way when the connection was lost may have come through, or not.
                if is_current(self, worker, connection) || self.rng.bool() {
                    let carries_time = matches!(
                        *entry,
                        Entry::Internal {
                            reading: Some(_),
                            ..
                        }
                    );
                    if carries_time && epoch != self.log.epoch {
                        self.observer.excuse_time(self.now);
                    }
                    self.take(entry);
                }
            }
            Event::Serve => self.serve(),
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
                    stream: known.filter(|(k, _)| k == key).map(|(_, stream)| *stream),
                    group_by: Vec::new(),
                    consistency: if self.rng.u8(..3) == 0 {
                        Consistency::Strong
                    } else {
                        Consistency::Local
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

    /// The log takes an entry, and its followers will hear of it.
    pub fn take(&mut self, entry: Rc<Entry>) {
        self.observer.take(self.now, Rc::clone(&entry));
        let offset = self.log.append(self.now, Rc::clone(&entry));
        self.counted.entries += 1;
        for worker in 0..self.workers.len() {
            let to = &self.workers[worker];
            if to.attached == Some(self.log.generation) && offset >= to.from {
                self.send(worker, offset, Rc::clone(&entry));
            }
        }
    }

    /// How long a message takes at most. In the end the network is swift.
    pub fn delay_ms(&self) -> u64 {
        if self.now < RUN_MS {
            self.plan.delay_ms
        } else {
            2
        }
    }

    pub fn send(&mut self, worker: usize, offset: u64, entry: Rc<Entry>) {
        let delay = self.rng.u64(..=self.delay_ms());
        let to = &mut self.workers[worker];
        let last = to.inbox.back().map_or(0, |d| d.due);
        let due = last.max(self.now + delay);
        to.inbox.push_back(Delivery {
            due,
            generation: self.log.generation,
            offset,
            entry,
        });
        let connection = to.connection;
        self.after(due - self.now, Event::Deliver { worker, connection });
    }

    pub fn bounds(&self) -> Bounds {
        let interval_ms = Settings::interval_for(self.widest_ttl_ms);
        let changes = u64::from(self.settings_changed) + self.mono_steps;
        Bounds {
            interval_ms,
            early_ms: 2 * interval_ms * changes,
            limited: self.settings.max_streams_per_account < 100,
            shown_behind_ms: self
                .plan
                .clocks_agree()
                .then_some(5_000 + 20 * interval_ms as i64),
        }
    }

    /// What may be off by two intervals has become more.
    pub fn widen(&mut self) {
        self.widest_ttl_ms = self.widest_ttl_ms.max(self.settings.ttl_ms);
        let interval_ms = Settings::interval_for(self.widest_ttl_ms);
        let changes = u64::from(self.settings_changed) + self.mono_steps;
        self.observer.may_gain_ms = 2 * interval_ms * (1 + changes);
    }

    fn serve(&mut self) {
        let takers: Vec<usize> = (0..self.workers.len())
            .filter(|w| self.workers[*w].taking)
            .collect();
        for request in self.requests.waiting(self.now) {
            let Some(&worker) = self.rng.choice(&takers) else {
                break;
            };
            if let Some(request) = self.requests.get(request) {
                request.taken_by = Some(worker);
            }
            let connection = self.workers[worker].connection;
            let delay = self.rng.u64(..=self.delay_ms());
            self.after(
                delay,
                Event::Hand {
                    worker,
                    connection,
                    request,
                },
            );
        }
        self.after(10, Event::Serve);
    }

    fn do_deed(&mut self, deed: Deed) {
        if self.now >= RUN_MS {
            return;
        }
        match deed {
            Deed::Publish(entry) => self.take(entry),
            Deed::Init(mut init) => {
                let request = self.requests.send(self.now, Body::Init((*init).clone()));
                // The player gives up waiting and asks again: by another request, as a rule.
                if self.rng.bool() {
                    init.request.0 = players::new_id(&mut self.rng);
                }
                let deed = Deed::Init(init);
                self.after(2_000, Event::Retry { request, deed });
            }
        }
    }

    /// Nothing has gone wrong for a while: everybody serves, and nobody waits.
    fn check_all_is_well(&self) {
        for (w, worker) in self.workers.iter().enumerate() {
            let clocks = worker.clocks(self.now);
            assert!(
                worker.replica.is_live(clocks.mono),
                "worker {w} serves no more"
            );
            assert!(worker.taking, "worker {w} takes no requests");
            assert_eq!(worker.history.generation, self.log.generation);
            assert_eq!(worker.replica.settings(), self.observer.settings());
        }
        assert!(self.requests.is_empty(), "somebody still waits");
        let quiet = self.observer.taken_by(self.now - 5_000);
        let happened = &self.observer.happened.all;
        self.lifecycle.check(happened, quiet);
    }
}
