//! The intake: publishes messages without the header `account` again, with the header.
//!
//! With several partitions, that header selects a message's partition, and some devices cannot set
//! it. Every worker serves the intake. Before it starts, it restores the bindings of the partitions,
//! which RabbitMQ loses when the last node of a cluster stops.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    Config, clock, grace,
    rejections::Rejections,
    retry::Retry,
    throttle::{RetryAfter, SharedThrottle},
};
use crate::{
    broker::{
        BrokerError, Connection, Endpoint, Forwarded, Forwarder, Names, Receipt, Replies, ReplyTo,
        RequestDelivery, RequestQueue, topology,
    },
    deadline::until,
    ops::{Health, IntakeMetrics},
    wire::{self, Origin, Problem},
};

/// Prefetch of each queue: at most 32 MiB of batches.
const PREFETCH: u16 = 256;

/// The kind of a message, which determines the handling of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageClass {
    /// Its sender waits for a reply.
    Request,
    /// Its sender waited for the broker's confirm only.
    Event,
}

impl MessageClass {
    /// Longest wait for the confirm of a partition.
    const fn patience(self) -> Duration {
        match self {
            Self::Request => topology::REQUEST_TTL,
            // An event that times out is requeued. Long, so that an alarm does not use up its
            // delivery limit.
            Self::Event => Duration::from_secs(600),
        }
    }
}

/// A message that is being published again.
struct PendingMessage {
    kind: MessageClass,
    receipt: Receipt,
    reply_to: Option<ReplyTo>,
}

/// Serves the intake until shutdown. Survives losses of the broker.
pub(super) async fn run(
    config: Config,
    partitions: u16,
    (replies, throttle): (Replies, SharedThrottle),
    health: Arc<Health>,
    mut shutdown: watch::Receiver<bool>,
) {
    let metrics = IntakeMetrics::new();
    let mut retry = Retry::new("the intake is interrupted", None, &config.addresses);
    loop {
        let opened = tokio::select! {
            opened = Intake::open(&config, partitions, retry.failures, (&replies, &throttle)) => opened,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        let ended = match opened {
            Ok(session) => session.run(&config, &metrics, &health, &mut shutdown).await,
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return };
        tokio::select! {
            () = retry.after(&error, |reason| health.report_intake(Some(reason))) => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}

/// One session with the broker. Messages that it has consumed but not routed are requeued when it
/// ends.
struct Intake {
    publish: Arc<Connection>,
    requests: RequestQueue,
    events: RequestQueue,
    forwarder: Forwarder<PendingMessage>,
    replies: Replies,
    throttle: SharedThrottle,
    names: Names,
    rejections: Rejections,
}

impl Intake {
    async fn open(
        config: &Config,
        partitions: u16,
        n: usize,
        (replies, throttle): (&Replies, &SharedThrottle),
    ) -> Result<Self, BrokerError> {
        let (addresses, names) = (&config.addresses, &config.names);
        topology::open_partitions(addresses, names, partitions).await?;
        let name = |what| format!("streamwatch worker, intake, {what}");
        let publish = Arc::new(Connection::open(addresses, n, &name("publish")).await?);
        let queue = |what, queue| {
            RequestQueue::new(Endpoint::new(addresses, n, name(what)), queue, PREFETCH)
        };
        Ok(Self {
            requests: queue("requests", names.intake_requests()),
            // Confirmed to their senders: only undeliverable ones may reach the delivery limit.
            events: queue("events", names.intake_events()).one_by_one(),
            forwarder: Forwarder::new(&publish, names).await?,
            replies: replies.clone(),
            throttle: throttle.clone(),
            names: names.clone(),
            rejections: Rejections::new(names),
            publish,
        })
    }

    async fn run(
        mut self,
        config: &Config,
        metrics: &IntakeMetrics,
        health: &Health,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), BrokerError> {
        let ended = self.serve(config, metrics, health, shutdown).await;
        let closing = async {
            if ended.is_ok() {
                self.replies.flush().await;
            }
            self.requests.stop();
            self.events.stop();
            self.publish.close().await;
        };
        let _ = timeout(config.grace.closing(), closing).await;
        ended
    }

    async fn serve(
        &mut self,
        config: &Config,
        metrics: &IntakeMetrics,
        health: &Health,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), BrokerError> {
        self.requests.start();
        self.events.start();
        tracing::info!("consuming the intake");
        health.report_intake(None);
        let mut grace_over = None;
        loop {
            self.rejections.maintain(&self.publish);
            if grace_over.is_some() && self.forwarder.pending() == 0 {
                return Ok(());
            }
            tokio::select! {
                request = self.requests.next() => self.delivered(MessageClass::Request, request)?,
                event = self.events.next() => self.delivered(MessageClass::Event, event)?,
                (pending, outcome) = self.forwarder.next() => {
                    self.settle(pending, outcome, metrics)?;
                }
                () = grace::requested(shutdown), if grace_over.is_none() => {
                    grace_over = Some(Instant::now() + config.grace.draining());
                    health.report_intake(Some("shutting down".to_owned()));
                    self.drain().await;
                }
                () = until(grace_over) => return Ok(()),
            }
        }
    }

    fn delivered(
        &mut self,
        kind: MessageClass,
        delivery: Result<RequestDelivery, BrokerError>,
    ) -> Result<(), BrokerError> {
        match delivery {
            Ok(delivery) => self.forward(kind, delivery),
            Err(error) if error.is_by_a_message() => {
                tracing::warn!("cannot consume the intake; reconnecting: {error}");
            }
            // A restart of RabbitMQ may have closed the partitions: the next session opens them.
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Checks a message's account, and publishes the message again.
    fn forward(&mut self, kind: MessageClass, delivery: RequestDelivery) {
        let mut pending = PendingMessage {
            kind,
            receipt: delivery.receipt(),
            reply_to: None,
        };
        let origin = Origin::queue("intake");
        let message = delivery.message();
        if kind == MessageClass::Request
            && let Some(RetryAfter(after)) = self.throttle.check_intake(&message, clock::mono())
        {
            pending.reply_to = delivery.reply_to(&self.names).ok();
            return match after {
                Some(ms) => self.refuse(pending, &Problem::throttled(ms)),
                None => pending.receipt.ack(),
            };
        }
        match delivery.reply_to(&self.names) {
            Ok(to) => pending.reply_to = Some(to),
            Err(none) => {
                if let Some(problem) = none.problem() {
                    self.rejections
                        .reject(origin, &message, &problem, &self.publish);
                    // An event counts without a reply. A request has no other purpose.
                    if kind == MessageClass::Request {
                        return pending.receipt.ack();
                    }
                }
            }
        }
        match wire::account(&message) {
            Ok(key) => {
                let to = pending.reply_to.clone();
                let account = key.account();
                self.forwarder
                    .forward(pending, delivery, account, to.as_ref(), kind.patience());
            }
            Err(problem) => {
                self.rejections
                    .reject(origin, &message, &problem, &self.publish);
                self.refuse(pending, &problem);
            }
        }
    }

    /// Acknowledges a message once a partition's queue or log has confirmed it.
    fn settle(
        &self,
        pending: PendingMessage,
        outcome: Forwarded,
        metrics: &IntakeMetrics,
    ) -> Result<(), BrokerError> {
        match outcome {
            Forwarded::Confirmed => {
                metrics.forwarded.increment(1);
                pending.receipt.ack();
            }
            Forwarded::Refused | Forwarded::TimedOut(_)
                if pending.kind == MessageClass::Request =>
            {
                metrics.unavailable.increment(1);
                self.refuse(pending, &Problem::unavailable());
            }
            // Confirmed to its sender: it stays in the intake until a partition accepts it.
            Forwarded::Refused => {
                let missing = "no queue or log accepts messages from the intake";
                return Err(BrokerError::NotFound(missing.to_owned()));
            }
            Forwarded::TimedOut(error) | Forwarded::Lost(error) => return Err(error),
        }
        Ok(())
    }

    fn refuse(&self, pending: PendingMessage, problem: &Problem) {
        match pending.reply_to {
            None => pending.receipt.ack(),
            Some(to) => {
                let reply = wire::error(problem);
                if !self.replies.reply(to, reply, Some(pending.receipt)) {
                    tracing::warn!(
                        "too many replies are pending; requeueing a request of the intake"
                    );
                }
            }
        }
    }

    /// Stops consuming. Messages that were delivered are still published again.
    async fn drain(&mut self) {
        for delivery in self.requests.drain().await {
            self.forward(MessageClass::Request, delivery);
        }
        for delivery in self.events.drain().await {
            self.forward(MessageClass::Event, delivery);
        }
    }
}
