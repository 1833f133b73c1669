//! The events of one message: of a batch, or a heartbeat or stop alone.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{MOST_EVENTS, StreamNews};
use crate::{
    broker::Outgoing,
    client::{BadNews, ClientError},
    domain::{AccountId, BatchEvent, PlayerEvent, StreamId, Tenant},
    wire::{self, BatchWriter, Kind, MAX_BATCH_BYTES, PartitionNumber},
};

/// Approximate size of a message in addition to its events, in bytes.
const OVERHEAD: usize = 512;

#[derive(Debug)]
pub(super) struct Events {
    pub(super) tenant: Tenant,
    /// The account of the first event.
    account: AccountId,
    form: Form,
    writer: BatchWriter,
    stops: Vec<(AccountId, StreamId)>,
}

#[derive(Debug)]
enum Form {
    Batch(PartitionNumber),
    /// An event alone, with its body.
    Alone(Kind, Vec<u8>),
}

/// The outcome of a message, for all its events.
pub(super) type Outcome = Result<(), ClientError>;
/// A caller's receiver of the outcome. All events of a message share it.
pub(super) type Confirm = watch::Receiver<Option<Outcome>>;

#[derive(Debug)]
pub(super) struct UnconfirmedMessage {
    pub(super) events: Events,
    /// The time of the first event.
    pub(super) began: Instant,
    pub(super) patience: Duration,
    pub(super) outcome: watch::Sender<Option<Outcome>>,
    /// Whether the event is sent again. The callers have received the first outcome.
    pub(super) repeats: bool,
}

impl Events {
    /// Creates a batch without events, that of `account` being the first.
    pub(super) fn batch(tenant: &Tenant, account: &AccountId, partition: PartitionNumber) -> Self {
        Self::new(tenant, account, Form::Batch(partition))
    }

    pub(super) fn alone(tenant: &Tenant, account: &AccountId, event: &PlayerEvent) -> Self {
        let body = wire::event_body(account.as_str(), event);
        let form = Form::Alone(Kind::of_event(event), body);
        let mut events = Self::new(tenant, account, form);
        events.push(account, event);
        events
    }

    fn new(tenant: &Tenant, account: &AccountId, form: Form) -> Self {
        Self {
            tenant: tenant.clone(),
            account: account.clone(),
            form,
            writer: BatchWriter::default(),
            stops: Vec::new(),
        }
    }

    pub(super) const fn is_batch(&self) -> bool {
        matches!(self.form, Form::Batch(_))
    }

    /// The partition that a batch states.
    pub(super) const fn partition(&self) -> Option<PartitionNumber> {
        match self.form {
            Form::Batch(partition) => Some(partition),
            Form::Alone(..) => None,
        }
    }

    /// Appends an event. Returns `false`, without a change, if a batch has no room for it.
    pub(super) fn push(&mut self, account: &AccountId, event: &PlayerEvent) -> bool {
        self.writer.push(account.as_str(), event);
        let fits = self.len() <= MOST_EVENTS && self.writer.body_bytes() <= MAX_BATCH_BYTES;
        if !fits && self.len() > 1 {
            self.writer.pop();
            return false;
        }
        if let PlayerEvent::Stop(_) = event
            && let Some(stream) = event.stream()
        {
            self.stops.push((account.clone(), stream));
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.writer.len()
    }

    /// The memory that the events take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        OVERHEAD + self.writer.body_bytes() + self.len() * size_of::<u32>()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= MOST_EVENTS
    }

    /// Returns whether the events contain the stop of a stream.
    pub(super) fn stop(&self, tenant: &Tenant, account: &AccountId, stream: StreamId) -> bool {
        let mut stops = self.stops.iter();
        self.tenant == *tenant && stops.any(|(a, s)| *s == stream && a == account)
    }

    pub(super) fn event(&self, index: usize) -> Option<(AccountId, BatchEvent)> {
        let event = self.writer.event(&self.tenant, index)?;
        Some((AccountId::new(event.key.account()).ok()?, event))
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = AccountId> {
        let events = (0..self.len()).filter_map(|index| self.event(index));
        events.map(|(account, _)| account)
    }

    /// The news about the stream of the event at `index`.
    pub(super) fn news(&self, index: usize, news: BadNews) -> Option<StreamNews> {
        let (account, event) = self.event(index)?;
        Some(StreamNews {
            tenant: self.tenant.clone(),
            account,
            stream: event.event.stream()?,
            news,
        })
    }

    pub(super) fn encode(&self) -> Outgoing {
        let (kind, body) = match &self.form {
            Form::Batch(partition) => (Kind::Batch, self.writer.body(*partition)),
            Form::Alone(kind, body) => (*kind, body.clone()),
        };
        Outgoing::new(&self.tenant, kind, Some(&self.account), body)
    }
}

impl UnconfirmedMessage {
    pub(super) fn new(events: Events, began: Instant, patience: Duration) -> Self {
        Self {
            events,
            began,
            patience,
            outcome: watch::Sender::new(None),
            repeats: false,
        }
    }
}
