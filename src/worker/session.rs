//! One session with the broker: from connecting until the connection is lost or the worker stops.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{
    Config,
    asked::{Asked, Desk, Source},
    clock,
};
use crate::{
    broker::{
        Appended, Appender, BrokerError, Lease, Link, LogDelivery, LogFollower, LogFrom,
        RequestDelivery, RequestQueue, Responder,
    },
    domain::{Entry, HeartbeatOutcome, OpenOutcome, StopOutcome},
    ops::{BadInput, Counters, Health, PartitionHealth},
    replica::{Applied, Effect, Fault, Replica, StartAt},
    wire::{self, Code, Problem},
};

/// Requests to open that are under way to one worker at once.
const INITS: u16 = 256;
/// Questions that are under way to one worker at once.
const STATUSES: u16 = 512;
/// Messages of unknown kinds that are under way to one worker at once.
const UNROUTED: u16 = 16;
/// Entries applied before anything else gets its turn.
const BATCH: usize = 256;
/// How often a worker without the lease tries to take it.
const LEASE_EVERY: Duration = Duration::from_secs(3);

/// Why a session ended.
pub(super) enum End {
    Shutdown,
    Broker(BrokerError),
    Fault(Fault),
}

impl From<BrokerError> for End {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

pub(super) struct Session {
    partition: u16,
    consume: Link,
    publish: Link,
    log: LogFollower,
    appender: Appender,
    desk: Desk,
    lease: Lease,
    lease_name: String,
    grace: Duration,
    draining: bool,
}

/// What woke the session.
enum Event {
    Entry(LogDelivery),
    Appended(u64, Appended),
    Request(Source, RequestDelivery),
    Tick,
    Lease,
    Shutdown,
    GraceOver,
}

impl Session {
    /// Connects, and attaches to the log where the replica says.
    pub(super) async fn open(
        partition: u16,
        config: &Config,
        n: usize,
        replica: &mut Replica<Asked>,
    ) -> Result<Self, BrokerError> {
        let name = |what| format!("streamwatch worker, partition {partition:02}, {what}");
        let consume = Link::open(&config.addresses, n, &name("consume")).await?;
        let publish = Link::open(&config.addresses, n, &name("publish")).await?;
        let names = &config.names;
        let from = match replica.attach() {
            StartAt::First => LogFrom::First,
            StartAt::Offset(offset) => LogFrom::Offset(offset),
        };
        let log = LogFollower::attach(&consume, &names.log(partition), from).await?;
        let appender = Appender::new(&publish, &names.log(partition)).await?;
        let desk = Desk {
            inits: RequestQueue::new(&consume, names.init(partition), INITS).await?,
            statuses: RequestQueue::new(&consume, names.status(partition), STATUSES).await?,
            unrouted: RequestQueue::new(&consume, names.unrouted(), UNROUTED).await?,
            responder: Responder::new(&publish).await?,
        };
        tracing::info!(
            partition,
            address = consume.address(),
            ?from,
            "attached to the log"
        );
        Ok(Self {
            partition,
            lease_name: names.lease(partition),
            grace: config.grace,
            consume,
            publish,
            log,
            appender,
            desk,
            lease: Lease::default(),
            draining: false,
        })
    }

    /// Serves until something ends it.
    pub(super) async fn run(
        mut self,
        replica: &mut Replica<Asked>,
        counters: &Counters,
        health: &Health,
        shutdown: &mut watch::Receiver<bool>,
    ) -> End {
        let end = self.serve(replica, counters, health, shutdown).await;
        let end = match end {
            Ok(()) => End::Shutdown,
            Err(end) => end,
        };
        counters.lease.set(0.0);
        // Replies and acks that were handed to the connections go out before they close.
        tokio::join!(self.publish.close(), self.consume.close());
        end
    }

    async fn serve(
        &mut self,
        replica: &mut Replica<Asked>,
        counters: &Counters,
        health: &Health,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        replica.attached(clock::now());
        let mut ticked: Option<Instant> = None;
        let mut lease_at = Instant::now();
        let mut grace_over = None;
        loop {
            self.perform(replica, counters).await?;
            if self.draining && replica.pending() == 0 {
                return Ok(());
            }
            // New settings may have another interval, and it holds at once.
            let interval = Duration::from_millis(replica.interval_ms());
            let tick_at = ticked.map_or_else(Instant::now, |at| at + interval);
            let event = tokio::select! {
                entry = self.log.next() => Event::Entry(entry?),
                (seq, appended) = self.appender.next() => Event::Appended(seq, appended),
                init = self.desk.inits.next() => Event::Request(Source::Init, init?),
                status = self.desk.statuses.next() => Event::Request(Source::Status, status?),
                other = self.desk.unrouted.next() => Event::Request(Source::Unrouted, other?),
                () = tokio::time::sleep_until(tick_at) => Event::Tick,
                () = tokio::time::sleep_until(lease_at), if !self.lease.is_held() => Event::Lease,
                _ = shutdown.wait_for(|stop| *stop), if !self.draining => Event::Shutdown,
                () = until(grace_over) => Event::GraceOver,
            };
            match event {
                Event::Entry(first) => self.entries(first, replica, counters)?,
                Event::Appended(seq, appended) => {
                    let outcome = match appended {
                        Appended::Confirmed => Ok(()),
                        Appended::Failed => Err(()),
                        Appended::Lost(error) => return Err(error.into()),
                    };
                    replica.appended(seq, outcome, clock::now());
                }
                Event::Request(source, delivery) => self.request(source, &delivery, replica),
                Event::Tick => {
                    ticked = Some(Instant::now());
                    self.log.ack();
                    replica.tick(clock::now())?;
                    self.report(replica, counters, health);
                }
                Event::Lease => {
                    lease_at = Instant::now() + LEASE_EVERY;
                    if replica.has_caught_up() {
                        self.take_lease(replica, counters).await?;
                    }
                }
                Event::Shutdown => {
                    grace_over = Some(Instant::now() + self.grace);
                    self.drain(replica, counters, health).await?;
                }
                Event::GraceOver => {
                    let pending = replica.pending();
                    tracing::warn!(pending, "the grace period is over; requests are put back");
                    return Ok(());
                }
            }
        }
    }

    /// Applies an entry and those that have been delivered behind it.
    fn entries(
        &mut self,
        first: LogDelivery,
        replica: &mut Replica<Asked>,
        counters: &Counters,
    ) -> Result<(), End> {
        let mut entry = Some(first);
        for _ in 0..BATCH {
            let Some(delivery) = entry else {
                return Ok(());
            };
            self.entry(&delivery, replica, counters)?;
            entry = self.log.try_next()?;
        }
        entry.map_or(Ok(()), |last| self.entry(&last, replica, counters))
    }

    fn entry(
        &mut self,
        delivery: &LogDelivery,
        replica: &mut Replica<Asked>,
        counters: &Counters,
    ) -> Result<(), End> {
        let message = delivery.message();
        match wire::entry(&message) {
            Ok(entry) => {
                let applied = replica.apply(delivery.offset, &entry, clock::now())?;
                count(counters, &applied);
                if let (
                    Applied::Heartbeat(HeartbeatOutcome::Stopped(reason)),
                    Entry::Heartbeat { stream, .. },
                ) = (&applied, &entry)
                {
                    self.tell(delivery, replica, counters, || {
                        wire::stopped(*stream, *reason)
                    });
                }
            }
            Err(problem) => {
                replica.skip(delivery.offset)?;
                bad("log", problem.code);
                self.tell(delivery, replica, counters, || wire::error(&problem));
            }
        }
        Ok(())
    }

    /// Answers the sender of an entry. Every replica reads it; the holder of the lease tells.
    fn tell(
        &self,
        delivery: &LogDelivery,
        replica: &Replica<Asked>,
        counters: &Counters,
        reply: impl FnOnce() -> wire::Encoded,
    ) {
        if !self.lease.is_held() || !replica.has_caught_up() {
            return;
        }
        if let Ok(to) = delivery.reply_to() {
            if self.publish.is_blocked() {
                counters.replies_blocked.increment(1);
            } else {
                self.desk.responder.reply(&to, &reply());
            }
        }
    }

    fn request(&self, source: Source, delivery: &RequestDelivery, replica: &mut Replica<Asked>) {
        let (asked, acceptable) = Asked::new(source, delivery);
        if !acceptable {
            bad("reply_to", Code::BadField);
            return self.desk.done(&asked);
        }
        let message = delivery.message();
        let now = clock::now();
        let refused = match source {
            Source::Init => match wire::init(&message) {
                Ok(init) => return replica.init(asked, init, now),
                Err(problem) => problem,
            },
            Source::Status => match wire::status(&message) {
                Ok(status) => return replica.status(asked, status, now),
                Err(problem) => problem,
            },
            Source::Unrouted => wire::RoutingKey::parse(message.routing_key)
                .err()
                .unwrap_or_else(|| {
                    Problem::new(Code::UnknownKind, "no queue takes messages of this kind")
                }),
        };
        bad(source.as_str(), refused.code);
        self.desk.refuse(&asked, &refused);
    }

    /// Does what the replica asks for, until it asks for nothing more.
    async fn perform(
        &mut self,
        replica: &mut Replica<Asked>,
        counters: &Counters,
    ) -> Result<(), End> {
        loop {
            let effects = replica.take_effects();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                self.perform_one(effect, replica, counters).await?;
            }
        }
    }

    async fn perform_one(
        &mut self,
        effect: Effect<Asked>,
        replica: &mut Replica<Asked>,
        counters: &Counters,
    ) -> Result<(), End> {
        match effect {
            Effect::Append(Entry::Internal {
                mark,
                reading,
                body,
            }) => {
                let bytes = wire::encode_internal(mark, reading.as_ref(), &body);
                let kind = wire::internal_kind(&body);
                if !self.appender.append(mark.seq, kind, bytes) {
                    replica.appended(mark.seq, Err(()), clock::now());
                }
            }
            // Players write these, workers never.
            Effect::Append(Entry::Heartbeat { .. } | Entry::Stop { .. }) => {}
            Effect::Answer {
                request,
                answer,
                group_by,
            } => {
                match request.source {
                    Source::Init => counters.init_answered.increment(1),
                    Source::Status | Source::Unrouted => counters.status_answered.increment(1),
                }
                self.desk.answer(&request, &answer, &group_by);
            }
            Effect::Late(request) => self.desk.refuse(&request, &Problem::late()),
            Effect::Unavailable(request) => {
                counters.unavailable.increment(1);
                self.desk.refuse(&request, &Problem::unavailable());
            }
            Effect::Release(request) => {
                counters.released.increment(1);
                self.desk.release(&request);
            }
            Effect::Discard(request) => {
                counters.discarded.increment(1);
                self.desk.done(&request);
            }
            Effect::Resume if self.draining => {}
            Effect::Resume => {
                tracing::info!(partition = self.partition, "taking requests");
                self.desk.inits.start().await?;
                self.desk.statuses.start().await?;
                self.desk.unrouted.start().await?;
            }
            Effect::Pause => {
                tracing::warn!(
                    partition = self.partition,
                    "the log lags: requests are left to other workers"
                );
                for (source, delivery) in self.stop_taking().await? {
                    let (asked, _) = Asked::new(source, &delivery);
                    counters.released.increment(1);
                    self.desk.release(&asked);
                }
            }
        }
        Ok(())
    }

    async fn stop_taking(&mut self) -> Result<Vec<(Source, RequestDelivery)>, BrokerError> {
        let mut under_way = Vec::new();
        let desk = &mut self.desk;
        for (source, queue) in [
            (Source::Init, &mut desk.inits),
            (Source::Status, &mut desk.statuses),
            (Source::Unrouted, &mut desk.unrouted),
        ] {
            let stopped = queue.stop().await?;
            under_way.extend(stopped.into_iter().map(|delivery| (source, delivery)));
        }
        Ok(under_way)
    }

    /// Takes no more requests; finishes those that were taken.
    async fn drain(
        &mut self,
        replica: &mut Replica<Asked>,
        counters: &Counters,
        health: &Health,
    ) -> Result<(), End> {
        tracing::info!(partition = self.partition, "shutting down");
        self.draining = true;
        self.report(replica, counters, health);
        for (source, delivery) in self.stop_taking().await? {
            self.request(source, &delivery, replica);
        }
        Ok(())
    }

    async fn take_lease(
        &mut self,
        replica: &mut Replica<Asked>,
        counters: &Counters,
    ) -> Result<(), End> {
        if self.lease.try_take(&self.consume, &self.lease_name).await? {
            tracing::info!(partition = self.partition, "holding the lease");
            replica.lead(true);
            counters.lease.set(1.0);
        }
        Ok(())
    }

    fn report(&self, replica: &Replica<Asked>, counters: &Counters, health: &Health) {
        let now = clock::now();
        let totals = replica.totals();
        counters.streams.set(as_f64(totals.streams));
        counters.accounts.set(as_f64(totals.accounts));
        let lag_ms = replica.lag_ms(now.mono);
        counters
            .lag_seconds
            .set(lag_ms.map_or(f64::NAN, |ms| as_f64(ms) / 1_000.0));
        let live = replica.is_live(now.mono);
        let reason = if self.draining {
            Some("shutting down")
        } else if replica.settings().is_none() && !replica.has_caught_up() {
            Some("reading the log; if it has no settings, run `streamwatch topology declare`")
        } else if !replica.has_caught_up() {
            Some("catching up with the log")
        } else if !live {
            Some("the log lags")
        } else {
            None
        };
        let report = PartitionHealth {
            ready: reason.is_none(),
            connected: true,
            caught_up: replica.has_caught_up(),
            lag_ms,
            reason: reason.map(str::to_owned),
            reported_at_ms: now.mono.0 / 1_000,
        };
        health.report(usize::from(self.partition), report);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn bad(source: &'static str, code: Code) {
    let now_s = clock::now().mono.0 / 1_000_000;
    let code = code.as_str();
    BadInput { source, code }.emit(now_s);
}

fn count(counters: &Counters, applied: &Applied) {
    let counter = match applied {
        Applied::Heartbeat(HeartbeatOutcome::Refreshed) => &counters.refreshed,
        Applied::Heartbeat(HeartbeatOutcome::Started) => &counters.started,
        Applied::Heartbeat(HeartbeatOutcome::Stopped(_)) => &counters.heartbeat_stopped,
        Applied::Heartbeat(HeartbeatOutcome::Dropped(_)) => &counters.dropped,
        Applied::Stop(StopOutcome::Ended) => &counters.ended,
        Applied::Stop(StopOutcome::Noted | StopOutcome::Unchanged) => &counters.stop_other,
        Applied::Open(OpenOutcome::Opened) => &counters.opened,
        Applied::Open(OpenOutcome::Refused(_)) => &counters.refused,
        Applied::Open(OpenOutcome::Late) => &counters.late,
        Applied::Skipped | Applied::Internal => return,
    };
    counter.increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
const fn as_f64(n: u64) -> f64 {
    n as f64
}
