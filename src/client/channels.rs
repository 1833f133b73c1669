//! A client's channels, and their replacement after a queue has lost its leader.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::budget::Reserved;
use crate::{
    broker::{
        BrokerError, CONFIRM_WITHIN, Connection, Names, Outgoing, Published, RpcChannel, RpcEvent,
    },
    wire::Kind,
};

/// Time for which the broker may reject every message of a kind before the channel is replaced. If
/// the leader of a quorum queue fails just before a channel's first message to the queue, RabbitMQ
/// 3.10 rejects all messages of that channel, but accepts those of another one.
const REFUSED_FOR: Duration = Duration::from_secs(3);

/// Age from which an unconfirmed event may wait for a log's new leader.
const LEADERLESS: Duration = Duration::from_secs(1);

/// Longest wait for the confirm of a message whose sender has timed out.
const ABANDONED_CONFIRM_WITHIN: Duration = Duration::from_secs(2);

/// A channel for events, which are appended to logs, and a channel for requests.
///
/// RabbitMQ before 4.0 numbers the messages of a channel across all queues. After a log's leader
/// has changed, it takes the channel's next entries for duplicates, and confirms them without
/// appending. With a channel for events alone, this does not happen if there is only one log; for
/// several logs, see [`Unconfirmed`].
pub(super) struct Channels {
    events: RpcChannel,
    requests: RpcChannel,
    pub(super) unconfirmed: Unconfirmed,
}

impl Channels {
    pub(super) async fn open(connection: &Connection, names: &Names) -> Result<Self, BrokerError> {
        Ok(Self {
            events: RpcChannel::open(connection, names).await?,
            requests: RpcChannel::open(connection, names).await?,
            unconfirmed: Unconfirmed::default(),
        })
    }

    /// Publishes a message. `reserved` is released once the message has an outcome.
    pub(super) fn publish(
        &mut self,
        number: u64,
        message: Outgoing,
        reply: bool,
        reserved: Reserved,
    ) {
        self.unconfirmed.sent(number, message.kind, reserved);
        self.of(message.kind).publish(number, message, reply);
    }

    /// Closes the channel of `kind` and opens another. RabbitMQ then drops messages of that channel
    /// that no queue has stored; their senders have timed out.
    pub(super) async fn renew(
        &mut self,
        kind: Kind,
        connection: &Connection,
        names: &Names,
    ) -> Result<(), BrokerError> {
        self.of(kind).close().await?;
        *self.of(kind) = RpcChannel::open(connection, names).await?;
        self.unconfirmed.forget(kind);
        Ok(())
    }

    fn of(&mut self, kind: Kind) -> &mut RpcChannel {
        if is_event(kind) {
            &mut self.events
        } else {
            &mut self.requests
        }
    }

    /// The next confirm or reply. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<RpcEvent, BrokerError> {
        tokio::select! {
            event = self.events.next() => event,
            event = self.requests.next() => event,
        }
    }
}

/// Unconfirmed messages. After an event that waited for a log's new leader, the confirms of its
/// channel are not reliable: the channel must be replaced, and its unconfirmed messages repeated.
#[derive(Default)]
pub(super) struct Unconfirmed(BTreeMap<u64, InFlight>);

struct InFlight {
    kind: Kind,
    at: Instant,
    _reserved: Reserved,
}

impl Unconfirmed {
    fn sent(&mut self, number: u64, kind: Kind, reserved: Reserved) {
        let at = Instant::now();
        let _reserved = reserved;
        self.0.insert(
            number,
            InFlight {
                kind,
                at,
                _reserved,
            },
        );
    }

    /// Records a confirm or nack. Returns whether it is valid.
    pub(super) fn settled(&mut self, number: u64) -> bool {
        let oldest = self.0.values().find(|sent| is_event(sent.kind));
        let waited = oldest.is_some_and(|sent| sent.at.elapsed() >= LEADERLESS);
        let sent = self.0.remove(&number);
        !(waited && sent.is_some_and(|sent| is_event(sent.kind)))
    }

    /// Returns a kind of messages whose channel has an overdue confirm. `waits` returns whether the
    /// sender of a message still waits. RabbitMQ has not read from the connection before
    /// `unblocked`.
    pub(super) fn overdue(&self, unblocked: Instant, waits: impl Fn(u64) -> bool) -> Option<Kind> {
        let waited = |sent: &InFlight| sent.at.max(unblocked).elapsed();
        let sent = self.0.iter();
        let mut late = sent.take_while(|(_, sent)| waited(sent) >= ABANDONED_CONFIRM_WITHIN);
        let overdue =
            late.find(|(number, sent)| waited(sent) >= CONFIRM_WITHIN || !waits(**number));
        overdue.map(|(_, sent)| sent.kind)
    }

    fn forget(&mut self, kind: Kind) {
        self.0
            .retain(|_, sent| is_event(sent.kind) != is_event(kind));
    }
}

/// Returns whether messages of this kind are appended to a log.
pub(super) const fn is_event(kind: Kind) -> bool {
    matches!(kind, Kind::Heartbeat | Kind::Stop | Kind::Batch)
}

/// The time of the first rejection, by kind; `None` once the broker has accepted a message of the
/// kind.
#[derive(Default)]
pub(super) struct Refusals(HashMap<Kind, Option<Instant>>);

impl Refusals {
    /// Records an outcome. Returns whether the channel must be replaced.
    pub(super) fn are_permanent(&mut self, kind: Kind, published: Published) -> bool {
        if published != Published::Refused {
            self.0.insert(kind, None);
            return false;
        }
        let since = self.0.entry(kind).or_insert_with(|| Some(Instant::now()));
        since.is_some_and(|since| since.elapsed() >= REFUSED_FOR)
    }
}
