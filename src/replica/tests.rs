//! Tests of the replica as a state machine: one input, and the exact effects.

mod batch;
mod capacity;
mod expiry;
mod freshness;
mod lifecycle;
mod local_queues;
mod reattach;
mod requests;
mod rules;
mod snapshot;
mod start;
mod tenants;

use uuid::Uuid;

use super::*;
use crate::domain::{
    AccountId, ActiveStream, Answer, CapacityChange, Consistency, Entry, EntryId, Heartbeat,
    InitRequest, InternalEntry, Metadata, Open, PlayerEvent, Refused, RefusedReason, RequestId,
    Rules, StatusQuery, StatusRequest, StreamId, StreamState, Tenant, WallTime, WorkerState,
};

/// A TTL of 2 s: the interval is 100 ms, and streams expire after 2.2 s.
fn settings() -> Settings {
    Settings {
        ttl_ms: 2_000,
        heartbeat_every_ms: 500,
        ..Settings::default()
    }
}

const INTERVAL: u64 = 100;

fn at(ms: u64) -> Now {
    Now {
        mono: Mono(ms * 1_000),
        wall: WallTime(ms as i64),
    }
}

fn entry_id(writer: u64, seq: u64) -> EntryId {
    EntryId { writer, seq }
}

/// An internal entry of another writer, without a time.
fn foreign(seq: u64, body: Internal) -> Entry {
    Entry::Internal(InternalEntry {
        entry_id: entry_id(99, seq),
        writer_state: None,
        body,
    })
}

fn declared(settings: Settings) -> Entry {
    let wall = WallTime(0);
    foreign(1, Internal::Settings { settings, wall })
}

fn key(account: &str) -> AccountKey {
    AccountKey::new(
        &Tenant::new("acme").unwrap(),
        &AccountId::new(account).unwrap(),
    )
}

fn id(n: u128) -> StreamId {
    StreamId(Uuid::from_u128(n))
}

fn heartbeat(account: &str, n: u128) -> Entry {
    Entry::Player {
        key: key(account),
        event: Heartbeat::of(id(n)).into(),
    }
}

fn init(account: &str, n: u128) -> InitRequest {
    InitRequest {
        key: key(account),
        stream: id(n),
        request: RequestId(Uuid::from_u128(n)),
        max_active: None,
        replace: Vec::new(),
        metadata: Metadata::default(),
        terms: None,
        group_by: vec!["device".into()],
    }
}

fn status_request(account: &str, consistency: Consistency) -> StatusRequest {
    StatusRequest {
        key: key(account),
        query: StatusQuery {
            consistency,
            ..StatusQuery::default()
        },
    }
}

/// The answer to a [`status_request`]: the streams by number, at this moment.
fn activity(account: &str, at: u64, streams: &[ActiveStream]) -> Activity {
    Activity {
        key: key(account),
        as_of: WallTime(at as i64),
        streams: streams.to_vec(),
        left_out: 0,
    }
}

fn answer(request: &'static str, activity: Activity) -> Effect<&'static str> {
    Effect::Answer {
        request,
        answer: Answer::Status {
            activity,
            stream: None,
        },
        group_by: Vec::new(),
    }
}

/// A stream that started at `since` and has sent no heartbeat, as of `now`.
fn stream(n: u128, since: u64, now: u64, admitted: bool) -> ActiveStream {
    ActiveStream {
        stream: id(n),
        admitted,
        started_at: WallTime(since as i64),
        last_seen: WallTime(since as i64),
        expires_in_ms: since + 2_000 - now,
        metadata: Metadata::default(),
    }
}

/// A replica and its log. Appended entries are in the log at once, and [`Rig::read`] delivers
/// them.
struct Rig {
    replica: Replica<&'static str>,
    log: Vec<Entry>,
    /// The offset of the next entry to be delivered.
    next: usize,
    /// Effects other than appends, until they are taken.
    others: Vec<Effect<&'static str>>,
}

impl Rig {
    /// A replica that has attached to a log with settings, and has caught up at 0 ms.
    fn serving() -> Self {
        Self::serving_by(settings())
    }

    fn serving_by(settings: Settings) -> Self {
        let mut rig = Self::attached(1, vec![declared(settings)]);
        rig.read(0);
        assert_eq!(rig.effects(), [Effect::Resume]);
        rig
    }

    /// A replica whose marker is in the log and not yet read back.
    fn attached(writer: u64, log: Vec<Entry>) -> Self {
        let mut rig = Self {
            replica: Replica::new(writer),
            log,
            next: 0,
            others: Vec::new(),
        };
        assert_eq!(rig.replica.attach(), StartAt::First);
        rig.replica.attached(at(0));
        let appended = rig.append();
        assert_eq!(appended.len(), 1);
        rig
    }

    fn effects(&mut self) -> Vec<Effect<&'static str>> {
        let mut effects = std::mem::take(&mut self.others);
        effects.extend(self.replica.take_effects());
        // Other tests check the leader.
        effects.retain(|effect| !matches!(effect, Effect::Leads(_)));
        effects
    }

    /// Executes the replica's appends without confirms, and returns the entries.
    fn append(&mut self) -> Vec<Entry> {
        let mut appended = Vec::new();
        for effect in self.replica.take_effects() {
            match effect {
                Effect::Append(entry) => appended.push(Entry::Internal(entry)),
                other => self.others.push(other),
            }
        }
        self.log.extend(appended.iter().cloned());
        appended
    }

    /// Delivers the rest of the log.
    fn read(&mut self, now: u64) {
        while self.next < self.log.len() {
            let (offset, entry) = (self.next as u64, self.log[self.next].clone());
            self.next += 1;
            self.replica.apply(offset, &entry, at(now)).unwrap();
        }
    }

    /// Makes the replica the leader, as if it had observed the log for long enough.
    fn lead(&mut self, now: u64) {
        self.replica.leadership.stop_observing();
        self.replica.decide_leader(at(now));
        let effects = self.replica.take_effects();
        assert_eq!(effects.first(), Some(&Effect::Leads(true)));
        self.others.extend(effects.into_iter().skip(1));
    }

    fn tick(&mut self, now: u64) {
        self.replica.tick(at(now)).unwrap();
    }

    /// Ticks, and delivers the tick.
    fn round(&mut self, now: u64) {
        self.tick(now);
        self.append();
        self.read(now);
    }

    /// Ticks every interval after `from` up to `to`, and delivers the ticks.
    fn rounds(&mut self, from: u64, to: u64) {
        for now in (from + INTERVAL..=to).step_by(INTERVAL as usize) {
            self.round(now);
        }
    }
}
