//! A replica without a broker: its own entries are applied at once.

use std::time::Instant;

use streamwatch::domain::{
    CapacityChange, Entry, EntryId, Internal, InternalEntry, Settings, Tenant, WallTime,
};
use streamwatch::replica::{Effect, Mono, Now, Replica};
use streamwatch::wire;

use super::corpus::{Batches, Bodies};

/// The intervals of ticks and of a player's heartbeats, in seconds.
const INTERVAL_MS: u64 = 1_000;
const HEARTBEAT_S: usize = 30;

pub struct Ours {
    pub replica: Replica<u64>,
    offset: u64,
    now_ms: u64,
    /// Entries of another worker.
    said: u64,
}

impl Ours {
    /// Creates an empty replica that has caught up.
    pub fn empty() -> Self {
        Self::empty_by(Settings::default())
    }

    /// [`Self::empty`] with these settings.
    pub fn empty_by(settings: Settings) -> Self {
        let mut ours = Self {
            replica: Replica::new(1),
            offset: 0,
            now_ms: 1_000,
            said: 1,
        };
        ours.replica.attach();
        let settings = Entry::Internal(InternalEntry {
            entry_id: EntryId { writer: 2, seq: 1 },
            writer_state: None,
            body: Internal::Settings {
                settings,
                wall: WallTime(1_700_000_000_000),
            },
        });
        ours.apply(&settings);
        ours.replica.attached(ours.now());
        ours.answer_itself();
        assert!(ours.replica.has_caught_up());
        ours
    }

    /// Creates a replica with this number of streams, one per account.
    pub fn filled(streams: usize) -> Self {
        Self::filled_by(Settings::default(), streams)
    }

    /// [`Self::filled`] with these settings.
    pub fn filled_by(settings: Settings, streams: usize) -> Self {
        let mut ours = Self::empty_by(settings);
        ours.run(&Bodies::first(streams));
        assert_eq!(ours.replica.totals().streams, streams as u64);
        ours
    }

    /// Decodes and applies all bodies, while log time advances as in one round of heartbeats.
    pub fn run(&mut self, bodies: &Bodies) {
        let mut moves = Moves::of(bodies.len());
        for message in bodies.messages() {
            let entry = wire::entry(&message).expect("a heartbeat");
            self.apply(&entry);
            moves.count(self);
        }
    }

    /// Decodes and applies all batches, as [`Self::run`].
    pub fn run_batches(&mut self, batches: &Batches) {
        let mut moves = Moves::of(batches.messages().count());
        for message in batches.messages() {
            let entry = wire::entry(&message).expect("a batch");
            self.apply(&entry);
            moves.count(self);
        }
    }

    /// Decodes and applies all bodies at one log time.
    pub fn take(&mut self, bodies: &Bodies) {
        for message in bodies.messages() {
            self.apply(&wire::entry(&message).expect("a heartbeat"));
        }
        self.tell();
    }

    /// [`Self::run`] for decoded entries.
    pub fn run_decoded(&mut self, entries: &[Entry]) {
        let mut moves = Moves::of(entries.len());
        for entry in entries {
            self.apply(entry);
            moves.count(self);
        }
    }

    /// Applies decoded entries at one log time.
    pub fn take_decoded(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.apply(entry);
        }
        self.tell();
    }

    /// Marks this number of tenants as full, none of them in the corpus.
    pub fn full_tenants(&mut self, tenants: usize) {
        for n in 0..tenants {
            self.said += 1;
            let tenant = Tenant::new(&format!("full-{n:05}")).expect("letters");
            let full = Entry::Internal(InternalEntry {
                entry_id: EntryId {
                    writer: 2,
                    seq: self.said,
                },
                writer_state: None,
                body: Internal::Capacity(CapacityChange {
                    tenant: Some(tenant),
                    full: true,
                }),
            });
            self.apply(&full);
        }
    }

    /// Lets all streams expire, without publishing events. Returns the duration of each call, in
    /// seconds.
    #[allow(clippy::disallowed_methods, reason = "there is no runtime here")]
    pub fn expire(&mut self) -> Vec<f64> {
        let mut calls = Vec::new();
        while self.replica.totals().streams > 0 {
            self.now_ms += INTERVAL_MS;
            self.replica.tick(self.now()).expect("one log");
            let began = Instant::now();
            self.answer_itself();
            calls.push(began.elapsed().as_secs_f64());
            while self.replica.is_expiring() {
                let began = Instant::now();
                self.replica.expire();
                calls.push(began.elapsed().as_secs_f64());
            }
        }
        calls
    }

    pub fn now(&self) -> Now {
        Now {
            mono: Mono(self.now_ms * 1_000),
            wall: WallTime(1_700_000_000_000),
        }
    }

    fn apply(&mut self, entry: &Entry) {
        let now = self.now();
        self.replica
            .apply(self.offset, entry, now)
            .expect("one log");
        self.offset += 1;
    }

    /// Advances the time by an interval.
    pub fn tick(&mut self) {
        self.now_ms += INTERVAL_MS;
        self.replica.tick(self.now()).expect("one log");
        self.answer_itself();
        self.tell();
    }

    /// Records a leader that has announced all lifecycle events.
    fn tell(&mut self) {
        self.said += 1;
        let announced = Entry::Internal(InternalEntry {
            entry_id: EntryId {
                writer: 2,
                seq: self.said,
            },
            writer_state: None,
            body: Internal::Announced {
                up_to: self.offset - 1,
            },
        });
        self.apply(&announced);
    }

    fn answer_itself(&mut self) {
        for effect in self.replica.take_effects() {
            if let Effect::Append(entry) = effect {
                self.replica
                    .appended(entry.entry_id.seq, Ok(()), self.now());
                self.apply(&Entry::Internal(entry));
            }
        }
    }
}

/// The time between two of a round's heartbeats: a round takes one interval of players.
struct Moves {
    every: usize,
    left: usize,
}

impl Moves {
    fn of(count: usize) -> Self {
        let every = count.div_ceil(HEARTBEAT_S).max(1);
        Self { every, left: every }
    }

    fn count(&mut self, ours: &mut Ours) {
        self.left -= 1;
        if self.left == 0 {
            self.left = self.every;
            ours.tick();
        }
    }
}
