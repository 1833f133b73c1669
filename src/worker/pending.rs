//! Requests on their way from a queue through the replica to their reply.

use crate::{
    broker::{BrokerError, Names, Receipt, Replies, ReplyTo, RequestDelivery, RequestQueue},
    domain::Answer,
    ops::{Parent, Span},
    replica::Mono,
    wire::{self, Encoded, Problem},
};

/// Which queue a request came from.
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
}

/// Data of a pending request: its reply address and delivery tag.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) source: Source,
    receipt: Receipt,
    reply_to: Option<ReplyTo>,
    /// When it was taken up.
    pub(super) at: Mono,
    span: Option<Span>,
}

impl PendingRequest {
    /// Keeps what is needed of a request; with what is wrong where its reply may not be sent where
    /// it asks.
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
        let asked = Self {
            source,
            receipt: delivery.receipt(),
            reply_to,
            at,
            span,
        };
        (asked, problem)
    }

    /// It is done with.
    fn ended(&mut self, outcome: &'static str) {
        if let Some(span) = self.span.take() {
            span.end(outcome);
        }
    }
}

/// The request queues and the way back.
pub(super) struct RequestQueues {
    pub(super) names: Names,
    pub(super) inits: RequestQueue,
    pub(super) statuses: RequestQueue,
    pub(super) unrouted: RequestQueue,
    /// Requests are consumed.
    pub(super) taking: bool,
    /// Requests whose replies RabbitMQ does not take: held while the connection is blocked, requeued
    /// once it unblocks or consuming stops.
    pub(super) held: Vec<PendingRequest>,
    pub(super) replies: Replies,
}

impl RequestQueues {
    /// Why some requests are not consumed, if they should be.
    pub(super) fn trouble(&self) -> Option<&BrokerError> {
        let queues = [&self.inits, &self.statuses, &self.unrouted];
        queues.into_iter().find_map(RequestQueue::trouble)
    }

    /// Stops consuming at once. RabbitMQ requeues what is not acknowledged.
    pub(super) fn close(&mut self) {
        self.inits.stop();
        self.statuses.stop();
        self.unrouted.stop();
    }

    pub(super) fn answer(&self, mut asked: PendingRequest, answer: &Answer, group_by: &[String]) {
        asked.ended(match answer {
            Answer::Opened { .. } => "opened",
            Answer::Refused { .. } => "refused",
            Answer::Status { .. } => "activity",
        });
        self.reply(asked, || wire::answer(answer, group_by));
    }

    pub(super) fn refuse(&self, mut asked: PendingRequest, problem: &Problem) {
        asked.ended(problem.code.as_str());
        self.reply(asked, || wire::error(problem));
    }

    /// Acknowledges a request once its reply is confirmed.
    fn reply(&self, asked: PendingRequest, reply: impl FnOnce() -> Encoded) {
        let PendingRequest {
            reply_to, receipt, ..
        } = asked;
        match reply_to {
            None => receipt.ack(),
            Some(to) => {
                if !self.replies.reply(to, reply(), Some(receipt)) {
                    tracing::warn!("too many replies wait: a request is requeued");
                }
            }
        }
    }

    /// Acknowledges a request that cannot be answered.
    pub(super) fn done(mut asked: PendingRequest) {
        asked.ended("unanswerable");
        asked.receipt.ack();
    }

    pub(super) fn release(mut asked: PendingRequest) {
        asked.ended("released");
        asked.receipt.release();
    }
}
