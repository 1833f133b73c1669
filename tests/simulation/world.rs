//! The simulated system: true time, the log, the workers, and events in transit.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use fastrand::Rng;
use streamwatch::domain::{AccountId, AccountKey, BatchEvent, Entry, Settings, Tenant};

use crate::{
    answers::Bounds,
    counted::Counted,
    event::Event,
    faults,
    lifecycle::Lifecycle,
    log::Log,
    observer::Observer,
    plan::{Plan, RUN_MS, SETTLE_MS},
    players::{self, Deed},
    requests::{Body, Requests},
    row::Row,
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
    pub workers: Vec<Worker>,
    pub requests: Requests,
    pub settings: Settings,
    pub settings_changed: bool,
    pub widest_ttl_ms: u64,
    pub mono_steps: u64,
    /// Results of each entry in replicas without the full history.
    pub partial: HashMap<(History, u64), Row>,
    pub accounts: Vec<AccountKey>,
    pub streams: Vec<(AccountKey, streamwatch::domain::StreamId)>,
    /// Events for the next batch.
    pub gathered: Vec<BatchEvent>,
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
            let tenant = if n % 3 == 2 { "zeta" } else { "acme" };
            let tenant = Tenant::new(tenant).expect("a tenant");
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
            workers: (0..plan.workers).map(|_| Worker::new(&mut rng)).collect(),
            requests: Requests::default(),
            settings: plan.settings.clone(),
            settings_changed: false,
            widest_ttl_ms: plan.settings.ttl_ms,
            mono_steps: 0,
            partial: HashMap::new(),
            accounts: (0..plan.accounts).map(account).collect(),
            streams: Vec::new(),
            gathered: Vec::new(),
            tracing,
            counted: Counted::default(),
            plan,
            rng,
        };
        for worker in &mut world.workers {
            let accounts = world.plan.expiries_per_entry;
            worker.replica.expire_per_entry(accounts);
        }
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
        self.counted.counts = self.lifecycle.counts();
        self.counted.given_way += self.observer.given_way;
        self.counted.too_old += self.observer.too_old;
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

    /// Appends an entry to the log, and schedules its deliveries.
    pub fn take(&mut self, entry: Rc<Entry>) {
        self.observer.take(self.now, Rc::clone(&entry));
        let offset = self.log.append(self.now, Rc::clone(&entry));
        self.lifecycle.note_rules(offset, &entry);
        self.counted.entries += 1;
        for worker in 0..self.workers.len() {
            let to = &self.workers[worker];
            if to.attached == Some(self.log.generation) && offset >= to.from {
                self.send(worker, offset, Rc::clone(&entry));
            }
        }
    }

    /// The maximum time of a message. After the last fault, the network is fast.
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
            limited: self.settings.max_streams_per_account < 100
                || self.settings.max_tombstones_per_account < 100
                || self.settings.max_streams_per_tenant < 100
                || self.settings.max_streams_per_partition < 100
                || self.plan.settings.max_stream_age_ms > 0,
            shown_behind_ms: self
                .plan
                .clocks_agree()
                .then_some(5_000 + 20 * interval_ms as i64),
        }
    }

    /// Widens the tolerances after a change of the interval.
    pub fn widen(&mut self) {
        self.widest_ttl_ms = self.widest_ttl_ms.max(self.settings.ttl_ms);
        let interval_ms = Settings::interval_for(self.widest_ttl_ms);
        let changes = u64::from(self.settings_changed) + self.mono_steps;
        self.observer.may_gain_ms = 2 * interval_ms * (1 + changes);
    }

    pub fn serve(&mut self) {
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

    pub fn do_deed(&mut self, deed: Deed) {
        if self.now >= RUN_MS {
            return;
        }
        match deed {
            Deed::Publish(entry) => self.publish_event(entry),
            Deed::Init(mut init) => {
                let request = self.requests.send(self.now, Body::Init((*init).clone()));
                // The player times out and retries, usually by another request.
                if self.rng.bool() {
                    init.request.0 = players::new_id(&mut self.rng);
                }
                let deed = Deed::Init(init);
                self.after(2_000, Event::Retry { request, deed });
            }
        }
    }

    /// Checks that all workers serve and no request is pending, after a time without faults.
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
        assert!(self.requests.is_empty(), "a request is pending");
        let leaders = self.workers.iter().filter(|it| it.replica.leads()).count();
        assert_eq!(leaders, 1, "number of leaders");
        let quiet = self.observer.taken_by(self.now - 5_000);
        let happened = &self.observer.happened.all;
        self.lifecycle.check(happened, quiet);
    }
}
