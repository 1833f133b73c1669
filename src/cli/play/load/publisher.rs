//! A connection that publishes heartbeats at a pace, many of them unconfirmed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{sync::watch, time::Instant};

use super::{
    batches::{Batch, Batches},
    meter::Meter,
    pace,
    population::Population,
};
use crate::{
    broker::{BrokerError, CONFIRM_WITHIN, Connection, Outgoing, RpcChannel, RpcEvent},
    cli::arguments::Installation,
    client::{AccountId, ClientError, Heartbeat},
    wire::{self, Kind},
};

/// Most unconfirmed events of one connection, unless they are in batches.
const WINDOW: u64 = 1_000;
/// Most unconfirmed batches of one connection.
const BATCHES: u64 = 100;
/// Longest time that a batch gathers.
const GATHER_FOR: Duration = Duration::from_millis(100);
/// Interval at which due events are published, as timers and wake-ups cost more than events.
const EVERY: Duration = Duration::from_millis(5);

/// A rate of events and its period. Events that a stall has delayed are published later within the
/// period. Publishers that follow the schedule keep a reference.
pub(super) struct Schedule {
    pub(super) rate_per_s: u32,
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) meter: Arc<Meter>,
}

/// The current schedule; `None` for a pause. Publishers stop when its sender is dropped.
pub(super) type CurrentSchedule = watch::Receiver<Option<Arc<Schedule>>>;

pub(super) struct Publisher {
    connection: Connection,
    channel: RpcChannel,
    population: Arc<Population>,
    random: Rng,
    kind: Kind,
    index: usize,
    publishers: usize,
    /// The batches that gather; `None` to publish each event alone.
    batches: Option<Batches>,
    /// The time at which all batches were last published.
    flushed: Instant,
    /// The number of events of each unconfirmed batch, by the number of its message.
    sizes: HashMap<u64, u64>,
    /// The next stream in turn.
    turn: usize,
    /// The number of the last message.
    number: u64,
    /// The number of events of this schedule.
    sent: u64,
    /// The number of unconfirmed events, those in batches that gather included.
    unconfirmed: u64,
}

impl Publisher {
    pub(super) async fn open(
        at: &Installation,
        population: Arc<Population>,
        (index, publishers): (usize, usize),
        batches: Option<Batches>,
    ) -> Result<Self, BrokerError> {
        let kind = match batches {
            Some(_) => Kind::Batch,
            None => Kind::Heartbeat,
        };
        let connection =
            Connection::open_any_from(&at.addresses, index, "streamwatch play").await?;
        let channel = RpcChannel::open(&connection, &at.names).await?;
        Ok(Self {
            connection,
            channel,
            random: Rng::with_seed(population.seed.wrapping_add(index as u64)),
            kind,
            population,
            index,
            publishers,
            batches,
            flushed: Instant::now(),
            sizes: HashMap::new(),
            turn: index,
            number: 0,
            sent: 0,
            unconfirmed: 0,
        })
    }

    /// Publishes by the current schedule. Fails if the connection is lost or confirms time out, and
    /// publishes no more events then.
    pub(super) async fn run(mut self, mut current: CurrentSchedule) -> Result<(), ClientError> {
        let mut schedule: Option<Arc<Schedule>> = None;
        let mut meter: Option<Arc<Meter>> = None;
        let ended = loop {
            if let Some(schedule) = &schedule {
                meter = Some(Arc::clone(&schedule.meter));
            }
            let following = self.follow(schedule.as_deref(), meter.as_deref(), &mut current);
            match following.await {
                Ok(true) => {
                    schedule.clone_from(&current.borrow_and_update());
                    self.sent = 0;
                }
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(meter) = meter {
            meter.lost(self.unconfirmed);
        }
        // Dropped only now, as a schedule without references has published all its events.
        drop(schedule);
        if ended.is_ok() {
            self.connection.close().await;
        }
        ended
    }

    /// Publishes by one schedule until the next; returns `false` if there is none. Later confirms still
    /// count for the schedule of their event.
    async fn follow(
        &mut self,
        schedule: Option<&Schedule>,
        meter: Option<&Meter>,
        current: &mut CurrentSchedule,
    ) -> Result<bool, ClientError> {
        let mut timer = pace::every(EVERY);
        let mut heard = Instant::now();
        let mut news = false;
        loop {
            tokio::select! {
                event = self.channel.next() => {
                    if let RpcEvent::Published(number, published) = event.map_err(failed)? {
                        let events = self.sizes.remove(&number).unwrap_or(1);
                        self.unconfirmed -= events;
                        news = true;
                        if let Some(meter) = meter {
                            meter.settled(published, events);
                        }
                    }
                }
                _ = timer.tick() => {
                    // Once per tick, which is precise enough.
                    if std::mem::take(&mut news) || self.unconfirmed == 0 {
                        heard = Instant::now();
                    } else if heard.elapsed() > CONFIRM_WITHIN {
                        return Err(ClientError::NotTaken(CONFIRM_WITHIN));
                    }
                    if let Some(schedule) = schedule {
                        self.publish_due(schedule);
                    }
                }
                changed = current.changed() => {
                    // Events due since the last tick.
                    if let Some(schedule) = schedule {
                        self.publish_due(schedule);
                    }
                    self.flush();
                    return Ok(changed.is_ok());
                }
            }
        }
    }

    fn publish_due(&mut self, schedule: &Schedule) {
        let elapsed = schedule.to.min(Instant::now()) - schedule.from;
        let due = pace::due(schedule.rate_per_s, elapsed, self.index, self.publishers);
        let window = self.batches.as_ref().map(|all| all.window(BATCHES));
        let room = window.unwrap_or(WINDOW).saturating_sub(self.unconfirmed);
        let events = due.saturating_sub(self.sent).min(room);
        // Counted before publishing, so that no confirm is counted first.
        schedule.meter.published(events);
        self.sent += events;
        self.unconfirmed += events;
        for _ in 0..events {
            self.heartbeat();
        }
        if self.flushed.elapsed() >= GATHER_FOR {
            self.flush();
        }
    }

    /// Publishes a heartbeat, or adds it to a batch.
    fn heartbeat(&mut self) {
        let Some(batches) = &mut self.batches else {
            let (account, stream) = self.population.random_stream(&mut self.random);
            let body = wire::event_body(account.as_str(), &Heartbeat::of(stream).into());
            return self.publish(&account, body, false);
        };
        let (account, stream) = self.population.in_turn(self.turn);
        self.turn += self.publishers;
        if let Some(full) = batches.add(account, stream) {
            self.publish_batch(full);
        }
    }

    /// Publishes the batches that gather.
    fn flush(&mut self) {
        self.flushed = Instant::now();
        let begun = self.batches.as_mut().map(Batches::flush);
        for batch in begun.into_iter().flatten() {
            self.publish_batch(batch);
        }
    }

    fn publish_batch(&mut self, batch: Batch) {
        self.sizes.insert(self.number + 1, batch.events);
        self.publish(&batch.account, batch.body, batch.gzip);
    }

    fn publish(&mut self, account: &AccountId, body: Vec<u8>, gzip: bool) {
        self.number += 1;
        let mut message = Outgoing::new(&self.population.tenant, self.kind, Some(account), body);
        message.gzip = gzip;
        // Without `reply_to`, as no reply is needed.
        self.channel.publish(self.number, message, false);
    }
}

fn failed(error: BrokerError) -> ClientError {
    match error {
        BrokerError::NotFound(_) => ClientError::NoTopology,
        other => ClientError::Broker(other),
    }
}
