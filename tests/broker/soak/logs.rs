//! A reader of every log, independent of the workers: its entries and its time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use streamwatch::broker::{Addresses, BrokerError, Connection, LogEntry, LogFollower, LogFrom};
use streamwatch::client::{Names, StreamId};
use streamwatch::domain::{AccountKey, Entry, Internal, InternalEntry, PlayerEvent, StopTarget};
use streamwatch::wire;
use tokio::task::JoinSet;

use super::log_time::{LogTime, Reading, Wall};

/// The entries of one log.
#[derive(Default)]
pub struct Log {
    pub time: LogTime,
    pub entries: u64,
    /// Heartbeats of each stream.
    pub beats: HashMap<StreamId, u32>,
    /// Streams with a stop.
    pub stops: HashSet<StreamId>,
    accounts: HashSet<String>,
    next: Option<u64>,
}

pub struct Logs {
    logs: Vec<Arc<Mutex<Log>>>,
    /// Aborted when this is dropped.
    _tasks: JoinSet<()>,
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logs {
    pub fn follow(addresses: &Addresses, names: &Names, partitions: u16) -> Self {
        let mut tasks = JoinSet::new();
        let logs = (0..partitions).map(|partition| {
            let log = Arc::default();
            let (queue, into) = (names.log(partition), Arc::clone(&log));
            tasks.spawn(follow(addresses.clone(), queue, into));
            log
        });
        Self {
            logs: logs.collect(),
            _tasks: tasks,
        }
    }

    pub fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Log>> {
        self.logs.iter().map(|log| lock(log))
    }

    /// The partition whose log has an entry of `account`.
    pub fn partition(&self, account: &str) -> Option<usize> {
        let mut logs = self.logs.iter();
        logs.position(|log| lock(log).accounts.contains(account))
    }

    /// Number of accounts with entries in more than one log.
    pub fn in_two_logs(&self) -> usize {
        let mut seen = HashSet::new();
        let all = self.logs.iter().flat_map(|log| {
            let accounts = lock(log).accounts.clone();
            accounts.into_iter()
        });
        all.filter(|account| !seen.insert(account.clone())).count()
    }

    pub fn log(&self, partition: usize) -> MutexGuard<'_, Log> {
        lock(&self.logs[partition])
    }

    /// Waits until the log of a partition has been read up to `until`.
    pub async fn known(&self, partition: usize, until: Wall) {
        while self.log(partition).time.known_until() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until all logs have been read up to `until`.
    pub async fn all_known(&self, until: Wall) {
        for partition in 0..self.logs.len() {
            self.known(partition, until).await;
        }
    }
}

async fn follow(addresses: Addresses, queue: String, log: Arc<Mutex<Log>>) {
    for n in 0.. {
        let Err(error) = read(&addresses, n, &queue, &log).await;
        tracing::debug!(%error, "reattaching to the log");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn read(
    addresses: &Addresses,
    n: usize,
    queue: &str,
    log: &Mutex<Log>,
) -> Result<std::convert::Infallible, BrokerError> {
    let connection = Connection::open(addresses, n, "streamwatch soak").await?;
    let next = lock(log).next;
    let from = next.map_or(LogFrom::First, LogFrom::Offset);
    let mut follower = LogFollower::attach(&connection, queue, from).await?;
    loop {
        let entry = follower.next().await?;
        let offset = entry.offset();
        // RabbitMQ delivers from the start of a chunk, which may contain entries read before.
        if next.is_some_and(|next| offset < next) {
            continue;
        }
        let mut log = lock(log);
        log.next = Some(offset + 1);
        log.entries += 1;
        if let LogEntry::Delivered(delivery) = &entry
            && let Ok(entry) = wire::entry(&delivery.message())
        {
            log.note(&entry);
        }
    }
}

impl Log {
    /// Viewers stop one stream at a time.
    fn event(&mut self, key: &AccountKey, event: &PlayerEvent) {
        match event {
            PlayerEvent::Heartbeat(heartbeat) => {
                *self.beats.entry(heartbeat.stream).or_default() += 1;
            }
            PlayerEvent::Stop(stop) => {
                if let StopTarget::One(stream) = stop.target {
                    self.stops.insert(stream);
                }
            }
        }
        self.account(key.account());
    }

    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Player { key, event } => self.event(key, event),
            Entry::Batch(batch) => {
                for event in batch.events() {
                    self.event(&event.key, &event.event);
                }
            }
            Entry::Internal(InternalEntry {
                writer_state, body, ..
            }) => {
                match body {
                    Internal::Settings { settings, wall } => {
                        self.time
                            .settings(settings.number, signed(settings.ttl_ms), wall.0);
                    }
                    Internal::Open(open) => self.account(open.key.account()),
                    _ => {}
                }
                if let Some(writer_state) = writer_state {
                    self.time.apply(Reading {
                        estimate: signed(writer_state.estimate.0),
                        wall: writer_state.wall.0,
                    });
                }
            }
        }
    }

    fn account(&mut self, name: &str) {
        if !self.accounts.contains(name) {
            self.accounts.insert(name.to_owned());
        }
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).expect("less than the age of the universe")
}
