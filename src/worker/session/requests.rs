//! Requests from their queues to the replica, and the effects that the replica returns.

use std::time::Duration;

use futures_util::FutureExt;

use super::{MOST_REQUESTS, Session, SessionError};
use crate::{
    broker::{BrokerError, RequestDelivery},
    domain::{AccountKey, InitRequest, TenantAnswer},
    replica::{Effect, Now},
    wire::{self, Origin, Problem, Query, RoutingKey},
    worker::{
        clock,
        pending::{PendingRequest, RequestQueues, Source},
        rejections,
    },
};

impl Session<'_> {
    /// Decodes a request and passes it to the replica, or throttles or rejects it.
    fn request(&mut self, source: Source, delivery: &RequestDelivery) {
        let now = clock::now();
        let throttle = &self.partition.throttle;
        // First: a flood costs no more than this.
        if let Some(after) = throttle.check(source, &delivery.message(), now.mono) {
            return self.requests.throttle(delivery, after);
        }
        let names = &self.requests.names;
        let (request, problem) =
            PendingRequest::new(source, self.partition.number, delivery, names, now.mono);
        let message = self.routed(delivery.message());
        let origin = Origin::queue(source.as_str());
        if let Some(problem) = problem {
            self.rejections
                .reject(origin, &message, &problem, &self.publish);
            return RequestQueues::discard(request);
        }
        let at_broker = self.broker_clock.at(now.wall);
        if at_broker.is_some_and(|now| delivery.is_late(now)) {
            return self.late(request);
        }
        let by_account = |key: &AccountKey| {
            let throttle = &self.partition.throttle;
            throttle.check_account(source, &message, key.account(), now.mono)
        };
        let refused = match source {
            Source::Init => match wire::init(&message) {
                Ok(init) => match by_account(&init.key) {
                    Some(after) => return self.requests.throttle(delivery, after),
                    None => match self.field_of_newer_rules(&init, now) {
                        Some(field) => Problem::old_rules(field),
                        None => return self.partition.replica.init(request, init, now),
                    },
                },
                Err(problem) => problem,
            },
            Source::Status => match wire::query(&message) {
                Ok(Query::Tenant(tenant)) => {
                    return self.partition.replica.about_tenant(request, tenant, now);
                }
                Ok(Query::Account(status)) => match by_account(&status.key) {
                    Some(after) => return self.requests.throttle(delivery, after),
                    None => return self.partition.replica.status(request, status, now),
                },
                Err(problem) => problem,
            },
            Source::Unrouted => match RoutingKey::parse(message.routing_key) {
                // The kind is known, but its queue is missing.
                Ok(key) if key.kind.is_about_tenant() => Problem::not_routed(),
                Ok(_) => Problem::unavailable(),
                Err(problem) => problem,
            },
        };
        self.rejections
            .reject(origin, &message, &refused, &self.publish);
        if let Some(request) = self.unless_blocked(request) {
            self.requests.refuse(request, &refused);
        }
    }

    /// Handles a request, and the `status` requests that have been delivered, up to
    /// [`MOST_REQUESTS`]: awaiting all events of the partition costs more than a throttled request.
    pub(super) fn delivered(
        &mut self,
        source: Source,
        delivery: Result<RequestDelivery, BrokerError>,
    ) {
        self.take(source, delivery);
        for _ in 0..MOST_REQUESTS {
            let queues = &mut self.requests;
            let local = queues.local_statuses.next().now_or_never();
            let Some(status) = local.or_else(|| queues.statuses.next().now_or_never()) else {
                return;
            };
            self.take(Source::Status, status);
        }
    }

    /// Handles a request, or logs that the connection of its queue was lost. The queue reopens it.
    fn take(&mut self, source: Source, delivery: Result<RequestDelivery, BrokerError>) {
        match delivery {
            Ok(delivery) => self.request(source, &delivery),
            Err(error) => {
                self.partition.metrics.requests_interrupted.increment(1);
                tracing::warn!(
                    partition = self.partition.number,
                    "cannot consume {} requests; reconnecting: {error}",
                    source.as_str()
                );
            }
        }
    }

    /// The first field that the rules in force do not accept.
    fn field_of_newer_rules(&self, init: &InitRequest, now: Now) -> Option<&'static str> {
        let replica = &self.partition.replica;
        let settings = replica.settings().filter(|_| replica.is_live(now.mono))?;
        init.field_beyond(settings.rules())
    }

    /// Passes the number of the local queue to the replica, which publishes it in the log.
    pub(super) fn publish_local_queue(&mut self) {
        let queue = self.requests.local_statuses.number();
        if queue != self.partition.replica.local_queue() {
            self.partition.replica.consume_locally(queue, clock::now());
        }
    }

    /// Performs the replica's effects, and those that result, until none is left.
    pub(super) async fn perform(&mut self) -> Result<(), SessionError> {
        loop {
            let effects = self.partition.replica.take_effects();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                self.perform_one(effect).await?;
            }
        }
    }

    async fn perform_one(&mut self, effect: Effect<PendingRequest>) -> Result<(), SessionError> {
        match effect {
            Effect::Append(entry) => {
                // While the broker blocks, entries would wait here and be stale afterwards.
                let taken = !self.publish.is_blocked() && self.appender.append_entry(&entry);
                if !taken {
                    let seq = entry.entry_id.seq;
                    self.partition.replica.appended(seq, Err(()), clock::now());
                }
            }
            Effect::Answer {
                request,
                answer,
                group_by,
            } => {
                let Some(request) = self.unless_blocked(request) else {
                    return Ok(());
                };
                let (source, at) = (request.source, request.at);
                let fresh_for = Duration::from_millis(self.partition.replica.fresh_for_ms());
                self.requests.answer(request, &answer, &group_by, fresh_for);
                let took = clock::mono().s_since(at);
                match source {
                    Source::Init => {
                        self.partition.metrics.init_answered.increment(1);
                        self.partition.metrics.init_seconds.record(took);
                    }
                    Source::Status | Source::Unrouted => {
                        self.partition.metrics.status_answered.increment(1);
                        self.partition.metrics.status_seconds.record(took);
                    }
                }
            }
            Effect::AnswerTenant { request, answer } => {
                let Some(request) = self.unless_blocked(request) else {
                    return Ok(());
                };
                let took = clock::mono().s_since(request.at);
                let fresh_for = Duration::from_millis(self.partition.replica.fresh_for_ms());
                let metrics = &self.partition.metrics;
                let (answered, seconds) = match answer {
                    TenantAnswer::Accounts(_) => {
                        (&metrics.accounts_answered, &metrics.accounts_seconds)
                    }
                    TenantAnswer::Totals(_) => (&metrics.totals_answered, &metrics.totals_seconds),
                };
                answered.increment(1);
                seconds.record(took);
                self.requests.answer_tenant(request, &answer, fresh_for);
            }
            Effect::Announce {
                number,
                announcement,
            } => {
                let (announcer, notice) = (
                    &mut self.lifecycle.announcer,
                    wire::announcement(&announcement),
                );
                announcer.announce(number, notice, &self.publish);
            }
            Effect::Unbind(queues) => {
                tracing::info!(
                    partition = self.partition.number,
                    queues = queues.len(),
                    "unbinding the local queues of terminated workers"
                );
                self.requests.local_statuses.unbind(queues);
            }
            Effect::Leads(true) => {
                let worker = format_args!("{:016x}", self.partition.replica.writer());
                let partition = self.partition.number;
                tracing::info!(partition, %worker, "leading the partition");
                self.partition.metrics.leader.set(1.0);
                self.lifecycle.maintain(&self.publish);
            }
            Effect::Leads(false) => {
                tracing::info!(
                    partition = self.partition.number,
                    "no longer leading the partition"
                );
                self.partition.metrics.leader.set(0.0);
            }
            Effect::Late(request) => self.late(request),
            Effect::OldRules { request, field } => {
                if let Some(request) = self.unless_blocked(request) {
                    let problem = Problem::old_rules(field);
                    rejections::count(request.source.as_str(), problem.code);
                    self.requests.refuse(request, &problem);
                }
            }
            Effect::Unavailable(request) => {
                if let Some(request) = self.unless_blocked(request) {
                    self.partition.metrics.unavailable.increment(1);
                    self.requests.refuse(request, &Problem::unavailable());
                }
            }
            Effect::Release(request) => {
                self.partition.metrics.released.increment(1);
                RequestQueues::requeue(request);
            }
            Effect::Resume if self.draining => {}
            Effect::Resume => {
                tracing::info!(partition = self.partition.number, "consuming requests");
                self.requests.inits.start();
                self.requests.local_statuses.start();
                self.requests.statuses.start();
                if self.partition.takes_unrouted {
                    self.requests.unrouted.start();
                }
                self.requests.consuming = true;
            }
            Effect::Pause => {
                tracing::warn!(
                    partition = self.partition.number,
                    "the log lags; leaving requests to other workers"
                );
                self.requests.consuming = false;
                self.requests.close();
                self.requeue_held();
            }
        }
        Ok(())
    }

    fn late(&mut self, request: PendingRequest) {
        if let Some(request) = self.unless_blocked(request) {
            self.partition.metrics.late.increment(1);
            self.requests.refuse(request, &Problem::late());
        }
    }

    /// Stops consuming requests. Those that were delivered are still answered.
    pub(super) async fn drain(&mut self) {
        tracing::info!(partition = self.partition.number, "shutting down");
        self.draining = true;
        self.partition.replica.leave(clock::now());
        self.report();
        self.requests.consuming = false;
        let queues = &mut self.requests;
        let (inits, local_statuses, statuses, unrouted) = tokio::join!(
            queues.inits.drain(),
            queues.local_statuses.drain(),
            queues.statuses.drain(),
            queues.unrouted.drain()
        );
        for (source, drained) in [
            (Source::Init, inits),
            (Source::Status, local_statuses),
            (Source::Status, statuses),
            (Source::Unrouted, unrouted),
        ] {
            for delivery in drained {
                self.request(source, &delivery);
            }
        }
    }
}
