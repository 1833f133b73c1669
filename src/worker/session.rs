//! One session with the broker: from connecting until the connection is lost or the worker stops.

mod blocked;
mod entries;
mod lifecycle;
mod requests;
mod snapshots;

use std::time::Duration;

use snapshots::Snapshots;
use tokio::{sync::watch, time::Instant};

use super::{
    Config, Grace, clock,
    metrics_reporter::MetricsReporter,
    partition::Assignment,
    pending::{PendingRequest, RequestQueues, Source},
    rejections::Rejections,
    snapshots::SnapshotStep,
};
use crate::{
    broker::{
        Announced, Appended, Appender, BrokerError, Link, LogEntry, LogFollower, LogFrom, Replies,
        RequestDelivery, RequestQueue,
    },
    ops::{Counters, Health, PartitionHealth},
    replica::{Fault, Replica, StartAt},
    wire::{AccountHeader, Message},
};
use lifecycle::Lifecycle;

/// Requests to open that are under way to one worker at once.
const INITS: u16 = 256;
/// Questions that are under way to one worker at once.
const STATUSES: u16 = 512;
/// Messages of unknown kinds that are under way to one worker at once.
const UNROUTED: u16 = 16;
/// Entries applied before anything else gets its turn.
const BATCH: usize = 256;
/// How long a worker that catches up lets entries gather, where none is left: to be woken for each
/// costs more than to apply it. Nobody waits for an answer yet.
const REST: Duration = Duration::from_millis(1);

/// How long a worker that shuts down waits for the confirm of its last tick.
const LAST_TICK: Duration = Duration::from_secs(1);

/// Why a session ended.
pub(super) enum End {
    Shutdown,
    Broker(BrokerError),
    Fault(Fault),
    /// The settings say another number of partitions than there is.
    OtherPartitions(u16),
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
    of: u16,
    takes_unrouted: bool,
    consume: Link,
    publish: Link,
    log: LogFollower,
    appender: Appender,
    desk: RequestQueues,
    /// Which of the addresses this is.
    node: usize,
    snapshots: Snapshots,
    lifecycle: Lifecycle,
    rejections: Rejections,
    grace: Grace,
    draining: bool,
    /// Requests are being taken.
    taking: bool,
    /// Requests whose replies the broker does not take now: neither swallowed, nor put back as long
    /// as they would come here again.
    stuck: Vec<PendingRequest>,
}

/// What woke the session.
enum Event {
    Entry(LogEntry),
    Appended(u64, Appended),
    Announced(u64, Announced),
    Request(Source, Result<RequestDelivery, BrokerError>),
    Tick,
    Expire,
    SnapshotDue,
    Snapshot(Option<SnapshotStep>),
    Shutdown,
    GraceOver,
}

impl Session {
    /// Connects, and attaches to the log where the replica says.
    pub(super) async fn open(
        place: Assignment,
        config: &Config,
        n: usize,
        replica: &mut Replica<PendingRequest>,
        replies: Replies,
    ) -> Result<Self, BrokerError> {
        let partition = place.number;
        let name = |what| format!("streamwatch worker, partition {partition:02}, {what}");
        let consume = Link::open(&config.addresses, n, &name("consume")).await?;
        let publish = Link::open(&config.addresses, n, &name("publish")).await?;
        let names = &config.names;
        let appender = Appender::new(&publish, &names.log(partition)).await?;
        let queue = |what, queue, prefetch| {
            RequestQueue::new(&config.addresses, n, name(what), queue, prefetch)
        };
        let desk = RequestQueues {
            inits: queue("init", names.init(partition), INITS),
            statuses: queue("status", names.status(partition), STATUSES),
            unrouted: queue("unrouted", names.unrouted(), UNROUTED),
            replies,
            names: names.clone(),
        };
        let from = match replica.attach() {
            StartAt::First => LogFrom::First,
            StartAt::Offset(offset) => LogFrom::Offset(offset),
        };
        let log = LogFollower::attach(&consume, &names.log(partition), from).await?;
        tracing::info!(
            partition,
            address = consume.address(),
            ?from,
            "attached to the log"
        );
        Ok(Self {
            partition,
            of: place.of,
            takes_unrouted: place.takes_unrouted,
            lifecycle: Lifecycle::new(partition, names),
            rejections: Rejections::new(names),
            grace: config.grace,
            consume,
            publish,
            log,
            appender,
            desk,
            node: n,
            snapshots: Snapshots::new(config),
            draining: false,
            taking: false,
            stuck: Vec::new(),
        })
    }

    /// Serves until something ends it.
    pub(super) async fn run(
        mut self,
        replica: &mut Replica<PendingRequest>,
        counters: &Counters,
        showing: &mut MetricsReporter,
        health: &Health,
        shutdown: &mut watch::Receiver<bool>,
    ) -> End {
        let end = self
            .serve(replica, counters, showing, health, shutdown)
            .await;
        let end = match end {
            Ok(()) => End::Shutdown,
            Err(end) => end,
        };
        counters.leader.set(0.0);
        let closing = async {
            if matches!(end, End::Shutdown) {
                // The successor waits for three intervals if the last tick is not written.
                let _ = tokio::time::timeout(LAST_TICK, self.appender.settle()).await;
            }
            self.desk.replies.flush().await;
            self.desk.close();
            tokio::join!(self.publish.close(), self.consume.close());
        };
        let _ = tokio::time::timeout(self.grace.closing(), closing).await;
        end
    }

    async fn serve(
        &mut self,
        replica: &mut Replica<PendingRequest>,
        counters: &Counters,
        showing: &mut MetricsReporter,
        health: &Health,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        replica.attached(clock::now());
        let mut ticked: Option<Instant> = None;
        let mut grace_over = None;
        let mut shown = false;
        loop {
            // Before anything is done: with another number accounts would be elsewhere.
            if let Some(settings) = replica.settings()
                && settings.partitions != self.of
            {
                return Err(End::OtherPartitions(settings.partitions));
            }
            let caught_up = !shown && replica.has_caught_up();
            if caught_up {
                shown = true;
                showing.show(replica, counters, clock::mono());
            }
            self.perform(replica, counters).await?;
            if caught_up {
                self.report(replica, health);
            }
            if self.draining && replica.pending() == 0 {
                return Ok(());
            }
            // New settings may have another interval, and it holds at once.
            let interval = Duration::from_millis(replica.interval_ms());
            let tick_at = ticked.map_or_else(Instant::now, |at| at + interval);
            let snapshots = replica.leads() && !self.draining;
            let expiring = replica.is_expiring();
            let snapshot_at = self.snapshots.due().filter(|_| snapshots);
            let event = tokio::select! {
                entry = self.log.next() => Event::Entry(entry?),
                (seq, appended) = self.appender.next() => Event::Appended(seq, appended),
                (number, announced) = self.lifecycle.next() => Event::Announced(number, announced),
                init = self.desk.inits.next() => Event::Request(Source::Init, init),
                status = self.desk.statuses.next() => Event::Request(Source::Status, status),
                other = self.desk.unrouted.next() => Event::Request(Source::Unrouted, other),
                () = tokio::time::sleep_until(tick_at) => Event::Tick,
                () = until(snapshot_at), if snapshot_at.is_some() => Event::SnapshotDue,
                // What has expired is in no snapshot by halves.
                step = self.snapshots.next(), if !expiring => Event::Snapshot(step),
                () = std::future::ready(()), if expiring => Event::Expire,
                _ = shutdown.wait_for(|stop| *stop), if !self.draining => Event::Shutdown,
                () = until(grace_over) => Event::GraceOver,
            };
            match event {
                Event::Entry(first) => {
                    let drained = self.entries(first, replica, counters)?;
                    if drained && !replica.has_caught_up() {
                        tokio::time::sleep(REST).await;
                    }
                }
                Event::Appended(seq, appended) => {
                    let outcome = match appended {
                        Appended::Confirmed => Ok(()),
                        Appended::Failed => Err(()),
                        Appended::Lost(error) => return Err(error.into()),
                    };
                    replica.appended(seq, outcome, clock::now());
                }
                Event::Announced(number, announced) => {
                    self.lifecycle
                        .settle((number, announced), replica, counters);
                }
                Event::Request(source, Ok(delivery)) => {
                    self.request(source, &delivery, replica, counters);
                }
                Event::Request(source, Err(error)) => self.interrupted(source, &error, counters),
                Event::Tick => {
                    ticked = Some(Instant::now());
                    self.log.ack();
                    self.look_after_outlets(replica);
                    if !self.publish.is_blocked() {
                        self.release_stuck(counters);
                    }
                    replica.tick(clock::now())?;
                    showing.show(replica, counters, clock::mono());
                    self.report(replica, health);
                }
                Event::Expire => {
                    replica.expire();
                    tokio::task::yield_now().await;
                }
                Event::SnapshotDue => self.begin_snapshot(),
                Event::Snapshot(step) => self.snapshot_step(step, replica, counters),
                Event::Shutdown => {
                    let over = Instant::now() + self.grace.draining();
                    grace_over = Some(over);
                    // Deliveries that RabbitMQ does not end in this time come again.
                    let drained = self.drain(replica, counters, health);
                    let _ = tokio::time::timeout_at(over, drained).await;
                }
                Event::GraceOver => {
                    let pending = replica.pending();
                    tracing::warn!(pending, "the grace period is over; requests are put back");
                    return Ok(());
                }
            }
        }
    }

    /// A message as the contract reads it here. With several partitions each had its header when it
    /// was routed: what has none in a log had one of a kind that logs do not keep, such as a table.
    const fn seen<'a>(&self, mut message: Message<'a>) -> Message<'a> {
        if self.of > 1 && matches!(message.account, AccountHeader::Absent) {
            message.account = AccountHeader::NotText;
        }
        message
    }

    /// Opens the optional publishers in the background. Nothing depends on them.
    fn look_after_outlets(&mut self, replica: &Replica<PendingRequest>) {
        self.rejections.look_after(&self.publish);
        if replica.leads() {
            self.lifecycle.look_after(&self.publish);
        }
    }

    fn report(&self, replica: &Replica<PendingRequest>, health: &Health) {
        let now = clock::now();
        let lag_ms = replica.lag_ms(now.mono);
        let live = replica.is_live(now.mono);
        let reason = if self.draining {
            Some("shutting down")
        } else if self.publish.is_blocked() {
            Some("RabbitMQ takes no messages: it has raised an alarm for memory or disk")
        } else if replica.settings().is_none() && !replica.has_caught_up() {
            Some("reading the log; if it has no settings, run `streamwatch topology declare`")
        } else if !replica.has_caught_up() {
            Some("catching up with the log")
        } else if !live {
            Some("the log lags")
        } else {
            None
        };
        let reason = reason.map(str::to_owned).or_else(|| {
            let error = self.desk.trouble()?;
            Some(format!("requests are not consumed: {error}"))
        });
        let report = PartitionHealth {
            ready: reason.is_none(),
            connected: true,
            caught_up: replica.has_caught_up(),
            lag_ms,
            reason,
            reported_at_ms: now.mono.0 / 1_000,
        };
        health.report(self.partition, report);
    }
}

pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
