//! A session with the broker: from connecting until the connection is lost or the worker stops.

mod blocked;
mod broker_clock;
mod entries;
mod lifecycle;
mod requests;
mod snapshot_schedule;
mod snapshots;

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{
    clock, grace,
    partition::Partition,
    pending::{RequestQueues, Source},
    rejections::Rejections,
    retry::Failure,
};
use crate::{
    broker::{
        Appended, Appender, BrokerError, Connection, Endpoint, LocalRequests, LogFollower, LogFrom,
        Replies, RequestQueue,
    },
    deadline::until,
    ops::PartitionHealth,
    replica::{Fault, StartAt},
    wire::{AccountHeader, Message, PartitionNumber},
};
use broker_clock::BrokerClock;
use lifecycle::LifecyclePublisher;
use snapshot_schedule::Snapshots;

/// Prefetch of the queue of `init` requests.
const INITS: u16 = 256;
/// Prefetch of the local queue of `status` requests. A worker that stands still holds as many, and
/// further ones go to the shared queue.
const LOCAL_STATUSES: u16 = 256;
/// Prefetch of the shared queue of `status` requests.
const STATUSES: u16 = 256;
/// Prefetch of the queue of messages of unknown kinds.
const UNROUTED: u16 = 16;
/// Most further `status` requests that are handled with a request.
const MOST_REQUESTS: usize = 64;
/// Most heartbeats, stops and internal entries applied before other events are handled, apart from
/// those of one more entry.
const MOST_APPLIED: usize = 256;
/// Pause of a worker that catches up and has no entry left, so that entries accumulate: a wake-up
/// costs more than applying an entry. No request is pending yet.
const REST: Duration = Duration::from_millis(1);

/// Interval at which a worker that starts to consume checks whether all its queues are consumed.
const STARTING_CHECK: Duration = Duration::from_millis(20);

/// Time limit for the confirm of the last tick at shutdown.
const LAST_TICK: Duration = Duration::from_secs(1);

/// The error that ended a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error(
        "the log's settings have {settings} partitions, but the topology has {there}; the \
         worker serves no requests: run `streamwatch topology declare` and restart the workers; \
         deploy/UPGRADE.md (Change the number of partitions) describes how"
    )]
    OtherPartitions { settings: u16, there: u16 },
}

impl Failure for SessionError {
    fn needs_operator(&self) -> bool {
        match self {
            Self::Broker(error) => error.needs_operator(),
            Self::Fault(fault) => matches!(fault, Fault::UnknownRules(_)),
            Self::OtherPartitions { .. } => true,
        }
    }
}

/// The connections of one partition, and the state that ends with them.
pub(crate) struct Session<'a> {
    partition: &'a mut Partition,
    /// The connection that consumes the log.
    consume: Connection,
    log: LogFollower,
    /// The connection that publishes everything but replies.
    publish: Connection,
    appender: Appender,
    requests: RequestQueues,
    snapshots: Snapshots,
    lifecycle: LifecyclePublisher,
    rejections: Rejections,
    broker_clock: BrokerClock,
    /// The worker shuts down: it consumes no more requests and answers the pending ones.
    draining: bool,
}

impl<'a> Session<'a> {
    /// Connects, and attaches to the log at the replica's position.
    pub(super) async fn open(
        partition: &'a mut Partition,
        n: usize,
        replies: Replies,
    ) -> Result<Self, BrokerError> {
        let (number, config) = (partition.number, &partition.config);
        let names = &config.names;
        let name = |what| format!("streamwatch worker, partition {number:02}, {what}");
        let consume = Connection::open(&config.addresses, n, &name("consume")).await?;
        let publish = Connection::open(&config.addresses, n, &name("publish")).await?;
        let appender = Appender::new(&publish, &names.log(number)).await?;
        let endpoint = |what| Endpoint::new(&config.addresses, n, name(what));
        let queue = |what, queue, prefetch| RequestQueue::new(endpoint(what), queue, prefetch);
        let requests = RequestQueues {
            inits: queue("init", names.init(number), INITS),
            local_statuses: LocalRequests::new(
                endpoint("local status"),
                names,
                number,
                LOCAL_STATUSES,
            ),
            statuses: queue("status", names.status(number), STATUSES),
            unrouted: queue("unrouted", names.unrouted(), UNROUTED),
            consuming: false,
            held: Vec::new(),
            replies,
            names: names.clone(),
            partition: PartitionNumber {
                partition: number,
                partitions: partition.partitions,
            },
        };
        let from = match partition.replica.attach() {
            StartAt::First => LogFrom::First,
            StartAt::Offset(offset) => LogFrom::Offset(offset),
        };
        let log = LogFollower::attach(&consume, &names.log(number), from).await?;
        tracing::info!(
            partition = number,
            address = consume.address(),
            ?from,
            "attached to the log"
        );
        Ok(Self {
            snapshots: Snapshots::new(n),
            lifecycle: LifecyclePublisher::new(number, names),
            rejections: Rejections::new(names),
            broker_clock: BrokerClock::default(),
            partition,
            consume,
            log,
            publish,
            appender,
            requests,
            draining: false,
        })
    }

    /// Handles events until shutdown or an error, and closes the connections.
    pub(super) async fn run(
        mut self,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), SessionError> {
        let end = self.serve(shutdown).await;
        self.partition.metrics.leader.set(0.0);
        let closing = async {
            if end.is_ok() {
                // Without the last tick, the next leader waits for three intervals.
                let _ = tokio::time::timeout(LAST_TICK, self.appender.settle()).await;
                self.requests.replies.flush().await;
            }
            self.requests.close();
            tokio::join!(self.publish.close(), self.consume.close());
        };
        let _ = tokio::time::timeout(self.partition.config.grace.closing(), closing).await;
        end
    }

    async fn serve(&mut self, shutdown: &mut watch::Receiver<bool>) -> Result<(), SessionError> {
        self.partition.replica.attached(clock::now());
        let mut ticked: Option<Instant> = None;
        let mut grace_over = None;
        let mut shown = false;
        let mut starting = false;
        loop {
            // Checked first: with another number, accounts belong to other partitions.
            if let Some(settings) = self.partition.replica.settings()
                && settings.partitions != self.partition.partitions
            {
                return Err(SessionError::OtherPartitions {
                    settings: settings.partitions,
                    there: self.partition.partitions,
                });
            }
            let caught_up = !shown && self.partition.replica.has_caught_up();
            if caught_up {
                shown = true;
                self.partition.set_limits();
                self.partition.report_metrics();
            }
            self.publish_local_queue();
            self.perform().await?;
            let was_starting = std::mem::replace(&mut starting, self.requests.are_starting());
            if caught_up || was_starting != starting {
                self.report();
            }
            if self.draining && self.partition.replica.pending() == 0 {
                return Ok(());
            }
            // New settings may change the interval.
            let interval = Duration::from_millis(self.partition.replica.interval_ms());
            let tick_at = ticked.map_or_else(Instant::now, |at| at + interval);
            let snapshots = self.partition.replica.leads() && !self.draining;
            let expiring = self.partition.replica.is_expiring();
            let scanning = self.partition.replica.is_scanning();
            let snapshot_at = self.snapshots.due().filter(|_| snapshots);
            tokio::select! {
                entry = self.log.next() => {
                    let drained = self.entries(entry?)?;
                    if drained && !self.partition.replica.has_caught_up() {
                        tokio::time::sleep(REST).await;
                    }
                }
                (seq, appended) = self.appender.next() => self.appended(seq, appended)?,
                announced = self.lifecycle.announcer.next() => {
                    let partition = &mut *self.partition;
                    let (replica, metrics) = (&mut partition.replica, &partition.metrics);
                    self.lifecycle.settle(announced, replica, metrics);
                }
                init = self.requests.inits.next() => self.delivered(Source::Init, init),
                status = self.requests.local_statuses.next() => self.delivered(Source::Status, status),
                status = self.requests.statuses.next() => self.delivered(Source::Status, status),
                other = self.requests.unrouted.next() => self.delivered(Source::Unrouted, other),
                () = tokio::time::sleep_until(tick_at) => {
                    ticked = Some(Instant::now());
                    self.tick()?;
                }
                () = until(snapshot_at), if snapshot_at.is_some() => self.begin_snapshot(),
                // A snapshot never contains a partial expiry.
                step = self.snapshots.next(), if !expiring => self.snapshot_step(step),
                () = std::future::ready(()), if expiring => {
                    self.partition.replica.expire();
                    tokio::task::yield_now().await;
                }
                () = std::future::ready(()), if scanning => {
                    self.partition.replica.scan(clock::now());
                    tokio::task::yield_now().await;
                }
                () = grace::requested(shutdown), if !self.draining => {
                    let over = Instant::now() + self.partition.config.grace.draining();
                    grace_over = Some(over);
                    // RabbitMQ requeues deliveries that are not drained in time.
                    let _ = tokio::time::timeout_at(over, self.drain()).await;
                }
                () = until(grace_over) => {
                    let pending = self.partition.replica.pending();
                    tracing::warn!(
                        pending,
                        "the grace period is over; pending requests are requeued"
                    );
                    return Ok(());
                }
                () = tokio::time::sleep(STARTING_CHECK), if starting => {}
            }
        }
    }

    /// Passes the outcome of an own entry to the replica.
    fn appended(&mut self, seq: u64, appended: Appended) -> Result<(), SessionError> {
        let outcome = match appended {
            Appended::Confirmed => Ok(()),
            Appended::Failed => Err(()),
            Appended::TimedOut if self.publish.is_blocked() => Err(()),
            // RabbitMQ may send a connection's entries to a former leader of the log for good, if
            // that leader was cut off. Another connection finds the new one.
            Appended::Lost(_) | Appended::TimedOut => {
                return appended.confirmed().map_err(SessionError::from);
            }
        };
        self.partition.replica.appended(seq, outcome, clock::now());
        Ok(())
    }

    fn tick(&mut self) -> Result<(), SessionError> {
        self.log.ack();
        self.rejections.maintain(&self.publish);
        if self.partition.replica.leads() {
            self.lifecycle.maintain(&self.publish);
        }
        self.requests.local_statuses.maintain();
        if !self.publish.is_blocked() {
            self.requeue_held();
        }
        self.partition.replica.tick(clock::now())?;
        self.partition.set_limits();
        self.partition.report_metrics();
        self.report();
        Ok(())
    }

    /// Marks a missing header `account` as invalid if there are several partitions. RabbitMQ routes
    /// only messages with the header to a partition, so the header was there, with a type that a
    /// log does not keep, such as a table.
    const fn routed<'m>(&self, mut message: Message<'m>) -> Message<'m> {
        if self.partition.partitions > 1 && matches!(message.account, AccountHeader::Absent) {
            message.account = AccountHeader::NotText;
        }
        message
    }

    /// Reports the health of the partition.
    fn report(&self) {
        let now = clock::now();
        let lag_ms = self.partition.replica.lag_ms(now.mono);
        let live = self.partition.replica.is_live(now.mono);
        let reason = if self.draining {
            Some("shutting down")
        } else if self.publish.is_blocked() {
            Some("RabbitMQ blocks publishers: it has raised an alarm for memory or disk")
        } else if self.partition.replica.settings().is_none()
            && !self.partition.replica.has_caught_up()
        {
            Some("reading the log; if it has no settings, run `streamwatch topology declare`")
        } else if !self.partition.replica.has_caught_up() {
            Some("catching up with the log")
        } else if !live {
            Some("the log lags")
        } else if self.requests.are_starting() {
            Some("starting to consume requests")
        } else {
            None
        };
        let reason = reason.map(str::to_owned).or_else(|| {
            let error = self.requests.failure()?;
            Some(format!("requests are not consumed: {error}"))
        });
        let report = PartitionHealth {
            partition: self.partition.number,
            ready: reason.is_none(),
            connected: true,
            caught_up: self.partition.replica.has_caught_up(),
            lag_ms,
            reason,
            reported_at_ms: now.mono.0 / 1_000,
        };
        self.partition.health.report(report);
    }
}
