//! The intake: messages that came without the header `account` get it, and are published again.
//!
//! With several partitions that header decides which one a message belongs to, and some devices
//! cannot set it. Any worker does this, whichever partitions it follows. Before it begins, it opens
//! the partitions to messages with the header, which RabbitMQ refuses after a restart until then.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    Config,
    asked::look_after,
    needs_operator,
    rejections::{self, Rejections},
    retry::Retry,
    session::until,
};
use crate::{
    broker::{
        BrokerError, Forwarded, Forwarder, Link, Names, ReplyTo, RequestDelivery, RequestQueue,
        Responder, topology,
    },
    ops::{Health, IntakeCounters},
    wire::{self, Code, Origin, Problem},
};

/// Messages of each queue that are under way to one worker at once.
const PREFETCH: u16 = 256;

/// The same while one of them cannot be read: those behind it must not be dropped with it.
const CAREFUL: u16 = 1;
/// So long without a message that cannot be read ends the care.
const CAREFUL_FOR: Duration = Duration::from_secs(10);

/// How soon to try again then: it is dropped after so many tries, not after a time.
const SOON: Duration = Duration::from_millis(50);

/// What a message is, as far as losing it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its sender waits for a reply.
    Request,
    /// The broker's confirm was all its sender waited for.
    Event,
}

/// Why a session ended in order.
enum Ended {
    Shutdown,
    /// There is no more reason to be careful.
    Unhurt,
}

/// What woke the session.
enum Turn {
    Served,
    Unhurt,
    Stop,
}

/// A message that is being published again.
struct Taken {
    kind: Kind,
    tag: u64,
    reply_to: Option<ReplyTo>,
}

/// Serves the intake until shutdown. Losing the broker does not end it.
pub(super) async fn run(
    config: Config,
    of: u16,
    health: Arc<Health>,
    mut shutdown: watch::Receiver<bool>,
) {
    let counters = IntakeCounters::new();
    let mut retry = Retry::new();
    let mut careful = false;
    for n in 0.. {
        retry.begin();
        let opened = tokio::select! {
            opened = Session::open(&config, of, n, careful) => opened,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        let ended = match opened {
            Ok(session) => {
                session
                    .run(&config, &counters, &health, &mut shutdown)
                    .await
            }
            Err(error) => Err(error),
        };
        let error = match ended {
            Ok(Ended::Shutdown) => return,
            Ok(Ended::Unhurt) => {
                careful = false;
                continue;
            }
            Err(error) if is_unreadable(&error, careful) => {
                if !careful {
                    tracing::error!(
                        "a message in the intake cannot be read: it is dropped in time"
                    );
                    rejections::count("intake", Code::BadField);
                    health.report_intake(Some("a message cannot be read".to_owned()));
                }
                careful = true;
                tokio::time::sleep(SOON).await;
                continue;
            }
            Err(error) => error,
        };
        let wait = retry.wait();
        if needs_operator(&error) {
            tracing::error!(?wait, "intake: {error}");
        } else {
            tracing::warn!(?wait, "intake: {error}");
        }
        health.report_intake(Some(error.to_string()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}

/// A message cannot be read. The connection ends by it, and who asks next hears no more than that.
const fn is_unreadable(error: &BrokerError, careful: bool) -> bool {
    matches!(error, BrokerError::Unreadable(_))
        || (careful && matches!(error, BrokerError::Lost(_)))
}

/// One session with the broker. What it has taken and not published again comes back when it ends.
struct Session {
    careful: bool,
    consume: Link,
    publish: Link,
    requests: RequestQueue,
    events: RequestQueue,
    forwarder: Forwarder<Taken>,
    responder: Responder,
    names: Names,
    rejections: Rejections,
}

impl Session {
    async fn open(config: &Config, of: u16, n: usize, careful: bool) -> Result<Self, BrokerError> {
        topology::open_partitions(&config.addresses, &config.names, of).await?;
        let consume =
            Link::open(&config.addresses, n, "streamwatch worker, intake, consume").await?;
        let publish =
            Link::open(&config.addresses, n, "streamwatch worker, intake, publish").await?;
        let names = &config.names;
        let prefetch = if careful { CAREFUL } else { PREFETCH };
        Ok(Self {
            careful,
            requests: RequestQueue::new(&consume, names.intake_requests(), prefetch).await?,
            events: RequestQueue::new(&consume, names.intake_events(), prefetch).await?,
            forwarder: Forwarder::new(&publish, names).await?,
            responder: Responder::new(&publish, names).await?,
            names: names.clone(),
            rejections: Rejections::new(names),
            consume,
            publish,
        })
    }

    async fn run(
        mut self,
        config: &Config,
        counters: &IntakeCounters,
        health: &Health,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<Ended, BrokerError> {
        let ended = self.serve(config, counters, health, shutdown).await;
        self.responder.flush().await;
        tokio::join!(self.publish.close(), self.consume.close());
        ended
    }

    async fn serve(
        &mut self,
        config: &Config,
        counters: &IntakeCounters,
        health: &Health,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<Ended, BrokerError> {
        self.requests.start().await?;
        self.events.start().await?;
        tracing::info!("taking messages from the intake");
        health.report_intake(None);
        let mut grace_over = None;
        let unhurt_at = self.careful.then(|| Instant::now() + CAREFUL_FOR);
        loop {
            self.rejections.look_after(&self.publish).await;
            look_after(&mut self.responder, &self.publish).await;
            if !self.responder.is_open() {
                let gone = "the channel for replies is closed".to_owned();
                return Err(BrokerError::Lost(gone));
            }
            if grace_over.is_some() && self.forwarder.pending() == 0 {
                return Ok(Ended::Shutdown);
            }
            let turn = tokio::select! {
                request = self.requests.next() => {
                    self.take(Kind::Request, request?);
                    Turn::Served
                }
                event = self.events.next() => {
                    self.take(Kind::Event, event?);
                    Turn::Served
                }
                (taken, outcome) = self.forwarder.next() => {
                    self.settle(&taken, outcome, counters)?;
                    Turn::Served
                }
                _ = shutdown.wait_for(|stop| *stop), if grace_over.is_none() => Turn::Stop,
                () = until(unhurt_at) => Turn::Unhurt,
                () = until(grace_over) => return Ok(Ended::Shutdown),
            };
            match turn {
                Turn::Served => {}
                // What was taken and is not passed on comes back.
                Turn::Unhurt => return Ok(Ended::Unhurt),
                Turn::Stop => {
                    grace_over = Some(Instant::now() + config.grace);
                    health.report_intake(Some("shutting down".to_owned()));
                    self.stop_taking().await?;
                }
            }
        }
    }

    /// Checks a message as far as its account goes, and publishes it again.
    fn take(&mut self, kind: Kind, delivery: RequestDelivery) {
        let mut taken = Taken {
            kind,
            tag: delivery.tag(),
            reply_to: None,
        };
        let origin = Origin {
            source: "intake",
            offset: None,
        };
        let message = delivery.message();
        match delivery.reply_to(&self.names) {
            Ok(to) => taken.reply_to = Some(to),
            Err(none) => {
                if let Some(problem) = none.problem() {
                    self.rejections
                        .reject(origin, &message, &problem, &self.publish);
                    // As everywhere: a heartbeat counts all the same, a request has no other
                    // purpose.
                    if kind == Kind::Request {
                        return self.done(&taken);
                    }
                }
            }
        }
        match wire::account(&message) {
            Ok(key) => {
                let to = taken.reply_to.clone();
                self.forwarder
                    .forward(taken, delivery, key.account(), to.as_ref());
            }
            Err(problem) => {
                self.rejections
                    .reject(origin, &message, &problem, &self.publish);
                self.refuse(&taken, &problem);
            }
        }
    }

    /// Done with a message only once a partition has it.
    fn settle(
        &self,
        taken: &Taken,
        outcome: Forwarded,
        counters: &IntakeCounters,
    ) -> Result<(), BrokerError> {
        match outcome {
            Forwarded::Confirmed => {
                counters.forwarded.increment(1);
                self.done(taken);
            }
            Forwarded::Refused if taken.kind == Kind::Request => {
                counters.unavailable.increment(1);
                self.refuse(taken, &Problem::unavailable());
            }
            // It was confirmed to its sender: it stays here until it is taken.
            Forwarded::Refused => {
                let nobody = "the partitions take no messages from the intake";
                return Err(BrokerError::NotFound(nobody.to_owned()));
            }
            Forwarded::Lost(error) => return Err(error),
        }
        Ok(())
    }

    fn refuse(&self, taken: &Taken, problem: &Problem) {
        if let Some(to) = &taken.reply_to {
            self.responder.reply(to, &wire::error(problem));
        }
        self.done(taken);
    }

    fn done(&self, taken: &Taken) {
        match taken.kind {
            Kind::Request => self.requests.ack(taken.tag),
            Kind::Event => self.events.ack(taken.tag),
        }
    }

    async fn stop_taking(&mut self) -> Result<(), BrokerError> {
        for delivery in self.requests.stop().await? {
            self.take(Kind::Request, delivery);
        }
        for delivery in self.events.stop().await? {
            self.take(Kind::Event, delivery);
        }
        Ok(())
    }
}
