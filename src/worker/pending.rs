//! Pending requests: from their queue through the replica to their reply.

use std::time::Duration;

use super::throttle::RetryAfter;
use crate::{
    broker::{
        BrokerError, LocalRequests, Names, Receipt, Replies, ReplyTo, RequestDelivery, RequestQueue,
    },
    domain::{Answer, TenantAnswer, ThrottledKind},
    ops::{Parent, Span},
    replica::Mono,
    wire::{self, Encoded, PartitionNumber, Problem},
};

/// The queue of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Init,
    Status,
    Unrouted,
}

impl Source {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Status => "status",
            Self::Unrouted => "unrouted",
        }
    }

    /// The kind of its requests, if they are throttled.
    pub(super) const fn throttled(self) -> Option<ThrottledKind> {
        match self {
            Self::Init => Some(ThrottledKind::Init),
            Self::Status => Some(ThrottledKind::Status),
            Self::Unrouted => None,
        }
    }
}

/// Data of a pending request: its reply address and delivery tag.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    pub(super) source: Source,
    receipt: Receipt,
    reply_to: Option<ReplyTo>,
    /// Time of its delivery.
    pub(super) at: Mono,
    span: Option<Span>,
}

impl PendingRequest {
    /// Keeps the parts of a delivery that its reply needs. Also returns the problem of its reply
    /// address, if it has one.
    pub(super) fn new(
        source: Source,
        partition: u16,
        delivery: &RequestDelivery,
        names: &Names,
        at: Mono,
    ) -> (Self, Option<Problem>) {
        let (mut reply_to, problem) = match delivery.reply_to(names) {
            Ok(to) => (Some(to), None),
            Err(none) => (None, none.problem()),
        };
        let mut span = None;
        if let Some(mut trace) = delivery.trace() {
            let parent = Parent {
                trace: trace.trace,
                span: trace.span,
                flags: trace.flags,
                state: &trace.state,
            };
            span = Span::begin(source.as_str(), partition, parent);
            trace.span = span.as_ref().map_or(trace.span, Span::id);
            if let Some(to) = &mut reply_to {
                to.trace = Some(Box::new(trace));
            }
        }
        let request = Self {
            source,
            receipt: delivery.receipt(),
            reply_to,
            at,
            span,
        };
        (request, problem)
    }

    fn ended(&mut self, outcome: &'static str) {
        if let Some(span) = self.span.take() {
            span.end(outcome);
        }
    }
}

/// The request queues of a partition, and their replies.
pub(crate) struct RequestQueues {
    pub(super) names: Names,
    pub(super) inits: RequestQueue,
    /// The local queue of `status` requests.
    pub(super) local_statuses: LocalRequests,
    /// The shared queue of `status` requests.
    pub(super) statuses: RequestQueue,
    pub(super) unrouted: RequestQueue,
    /// The queues are consumed.
    pub(super) consuming: bool,
    /// Requests that are held while the connection is blocked. They are requeued once it unblocks or
    /// consuming stops.
    pub(super) held: Vec<PendingRequest>,
    pub(super) replies: Replies,
    /// The partition, for senders of batches.
    pub(super) partition: PartitionNumber,
}

impl RequestQueues {
    /// Returns the error of a queue that cannot be consumed although it should be.
    pub(super) fn failure(&self) -> Option<&BrokerError> {
        let queues = [&self.inits, &self.statuses, &self.unrouted];
        queues.into_iter().find_map(RequestQueue::failure)
    }

    /// Returns whether a queue has not been consumed since the replica accepts requests.
    pub(super) fn are_starting(&self) -> bool {
        let queues = [&self.inits, &self.statuses, &self.unrouted];
        queues.into_iter().any(RequestQueue::is_starting)
    }

    /// Stops consuming at once. RabbitMQ requeues unacknowledged requests.
    pub(super) fn close(&mut self) {
        self.inits.stop();
        self.local_statuses.stop();
        self.statuses.stop();
        self.unrouted.stop();
    }

    /// Replies with the replica's answer. A status is outdated after `fresh_for`.
    pub(super) fn answer(
        &self,
        mut request: PendingRequest,
        answer: &Answer,
        group_by: &[String],
        fresh_for: Duration,
    ) {
        let valid_for = match answer {
            Answer::Status { .. } => fresh_for,
            // The decision stays valid.
            Answer::Opened { .. } | Answer::Refused { .. } => Duration::MAX,
        };
        request.ended(match answer {
            Answer::Opened { .. } => "opened",
            Answer::Refused { .. } => "refused",
            Answer::Status { .. } => "activity",
        });
        self.reply(request, valid_for, || {
            wire::answer(answer, group_by, Some(self.partition))
        });
    }

    /// Replies with the replica's answer about a tenant, which is outdated after `fresh_for`.
    pub(super) fn answer_tenant(
        &self,
        mut request: PendingRequest,
        answer: &TenantAnswer,
        fresh_for: Duration,
    ) {
        request.ended(match answer {
            TenantAnswer::Accounts(_) => "accounts",
            TenantAnswer::Totals(_) => "totals",
        });
        self.reply(request, fresh_for, || {
            wire::tenant_answer(answer, self.partition)
        });
    }

    /// Replies with an error.
    pub(super) fn refuse(&self, mut request: PendingRequest, problem: &Problem) {
        request.ended(problem.code.as_str());
        self.reply(request, Duration::MAX, || wire::error(problem));
    }

    /// Acknowledges a request once its reply is confirmed.
    fn reply(&self, request: PendingRequest, valid_for: Duration, reply: impl FnOnce() -> Encoded) {
        let PendingRequest {
            reply_to, receipt, ..
        } = request;
        match reply_to {
            None => receipt.ack(),
            Some(to) => {
                let (replies, receipt) = (&self.replies, Some(receipt));
                if !replies.reply_within(valid_for, to, reply(), receipt) {
                    tracing::warn!("too many replies are pending; requeueing a request");
                }
            }
        }
    }

    /// Acknowledges a throttled request at once, so that it leaves its place to another one, and
    /// replies without waiting for the confirm.
    pub(super) fn throttle(&self, delivery: &RequestDelivery, RetryAfter(after): RetryAfter) {
        delivery.ack();
        if let Some(ms) = after
            && let Ok(mut to) = delivery.reply_to(&self.names)
        {
            to.trace = delivery.trace().map(Box::new);
            // Its requester repeats the request, with or without this reply.
            let _ = self
                .replies
                .reply(to, wire::error(&Problem::throttled(ms)), None);
        }
    }

    /// Acknowledges a request that cannot be answered.
    pub(super) fn discard(mut request: PendingRequest) {
        request.ended("unanswerable");
        request.receipt.ack();
    }

    /// Requeues a request for another worker.
    pub(super) fn requeue(mut request: PendingRequest) {
        request.ended("released");
        request.receipt.release();
    }
}
