//! Requests on their way from a queue through the replica to their reply.

use crate::{
    broker::{Link, Names, ReplyTo, RequestDelivery, RequestQueue, Responder},
    domain::Answer,
    ops::{Parent, Span},
    replica::Mono,
    wire::{self, Problem},
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

/// What is kept of a request while the replica has it: how to reply and how to acknowledge.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) source: Source,
    tag: u64,
    reply_to: Option<ReplyTo>,
    /// When it was taken up.
    pub(super) at: Mono,
    span: Option<Span>,
}

impl Asked {
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
            tag: delivery.tag(),
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

/// Opens the way of replies to devices that speak MQTT, where it is not open.
pub(super) async fn look_after(responder: &mut Responder, link: &Link) {
    if let Some(error) = responder.look_after(link).await {
        tracing::warn!("devices that speak MQTT are not answered: {error}");
    }
}

/// The request queues and the way back.
pub(super) struct Desk {
    pub(super) names: Names,
    pub(super) inits: RequestQueue,
    pub(super) statuses: RequestQueue,
    pub(super) unrouted: RequestQueue,
    pub(super) responder: Responder,
}

impl Desk {
    const fn queue(&self, source: Source) -> &RequestQueue {
        match source {
            Source::Init => &self.inits,
            Source::Status => &self.statuses,
            Source::Unrouted => &self.unrouted,
        }
    }

    pub(super) fn answer(&self, mut asked: Asked, answer: &Answer, group_by: &[String]) {
        if let Some(to) = &asked.reply_to {
            self.responder.reply(to, &wire::answer(answer, group_by));
        }
        asked.ended(match answer {
            Answer::Opened { .. } => "opened",
            Answer::Refused { .. } => "refused",
            Answer::Status { .. } => "activity",
        });
        self.ack(&asked);
    }

    pub(super) fn refuse(&self, mut asked: Asked, problem: &Problem) {
        if let Some(to) = &asked.reply_to {
            self.responder.reply(to, &wire::error(problem));
        }
        asked.ended(problem.code.as_str());
        self.ack(&asked);
    }

    pub(super) fn done(&self, mut asked: Asked) {
        asked.ended("discarded");
        self.ack(&asked);
    }

    pub(super) fn release(&self, mut asked: Asked) {
        asked.ended("released");
        self.queue(asked.source).release(asked.tag);
    }

    fn ack(&self, asked: &Asked) {
        self.queue(asked.source).ack(asked.tag);
    }
}
