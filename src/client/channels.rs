//! A client's channels, and what RabbitMQ does to them when a queue's leader is lost.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::budget::Reserved;
use crate::{
    broker::{BrokerError, Link, Names, Outgoing, Published, RpcChannel, RpcEvent},
    wire::Kind,
};

/// How long the broker may refuse every message of a kind on a new channel. Where the leader of a
/// quorum queue dies just before a channel's first message to it, RabbitMQ 3.10 refuses all of
/// that channel's for ever, and takes those of the next channel.
const REFUSED_FOR: Duration = Duration::from_secs(3);

/// An event that has no confirm after so long may wait for a log's new leader.
const LEADERLESS: Duration = Duration::from_secs(1);

/// How long the confirm of a message may take whose sender has given up.
const GIVEN_UP_FOR: Duration = Duration::from_secs(2);
/// How long any confirm may take. A log or a queue without its majority gives none.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// Events go to the logs and requests to other queues, on a channel each. RabbitMQ before 4.0
/// numbers what a channel has published to all queues alike, and when a log's leader changes it
/// takes what the channel appends next for a repetition: confirmed, and not in the log. Where there
/// is one log, its events have the same numbers either way; see [`Unconfirmed`] for several.
pub(super) struct Channels {
    events: RpcChannel,
    requests: RpcChannel,
    unconfirmed: Unconfirmed,
}

impl Channels {
    pub(super) async fn open(link: &Link, names: &Names) -> Result<Self, BrokerError> {
        Ok(Self {
            events: RpcChannel::open(link, names).await?,
            requests: RpcChannel::open(link, names).await?,
            unconfirmed: Unconfirmed::default(),
        })
    }

    /// Hands a message to the connection; `room` is free again once the message is settled.
    pub(super) fn publish(&mut self, kind: Kind, message: Outgoing, room: Reserved) {
        self.unconfirmed.sent(message.number, kind, room);
        self.of(kind).publish(message);
    }

    /// Closes the channel of `kind` and opens another. RabbitMQ then drops messages of that channel
    /// that no queue has stored; their senders have timed out.
    pub(super) async fn renew(
        &mut self,
        kind: Kind,
        link: &Link,
        names: &Names,
    ) -> Result<(), BrokerError> {
        self.of(kind).close().await?;
        *self.of(kind) = RpcChannel::open(link, names).await?;
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

    /// The next confirm or reply. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Result<RpcEvent, BrokerError> {
        tokio::select! {
            event = self.events.next() => event,
            event = self.requests.next() => event,
        }
    }

    /// Records a confirm or nack. Returns whether it is valid; see [`Unconfirmed`].
    pub(super) fn settled(&mut self, number: u64) -> bool {
        self.unconfirmed.settled(number)
    }

    /// Returns a kind of messages whose channel has an overdue confirm. `waits` returns whether the
    /// sender of a message still waits. RabbitMQ has read nothing before `unblocked`.
    pub(super) fn overdue(&self, unblocked: Instant, waits: impl Fn(u64) -> bool) -> Option<Kind> {
        self.unconfirmed.overdue(unblocked, waits)
    }
}

/// Messages without a confirm. Behind an event that waited for a log's new leader, confirms of its
/// channel prove nothing: the channel has to be left, and what is under way on it to be repeated.
#[derive(Default)]
struct Unconfirmed(BTreeMap<u64, Sent>);

struct Sent {
    kind: Kind,
    at: Instant,
    _room: Reserved,
}

impl Unconfirmed {
    fn sent(&mut self, number: u64, kind: Kind, room: Reserved) {
        let at = Instant::now();
        let _room = room;
        self.0.insert(number, Sent { kind, at, _room });
    }

    fn settled(&mut self, number: u64) -> bool {
        let oldest = self.0.values().find(|sent| is_event(sent.kind));
        let waited = oldest.is_some_and(|sent| sent.at.elapsed() >= LEADERLESS);
        let sent = self.0.remove(&number);
        !(waited && sent.is_some_and(|sent| is_event(sent.kind)))
    }

    fn overdue(&self, unblocked: Instant, waits: impl Fn(u64) -> bool) -> Option<Kind> {
        let waited = |sent: &Sent| sent.at.max(unblocked).elapsed();
        let sent = self.0.iter();
        let mut late = sent.take_while(|(_, sent)| waited(sent) >= GIVEN_UP_FOR);
        let overdue =
            late.find(|(number, sent)| waited(sent) >= CONFIRM_WITHIN || !waits(**number));
        overdue.map(|(_, sent)| sent.kind)
    }

    fn forget(&mut self, kind: Kind) {
        self.0
            .retain(|_, sent| is_event(sent.kind) != is_event(kind));
    }
}

/// It goes to a log.
pub(super) const fn is_event(kind: Kind) -> bool {
    matches!(kind, Kind::Heartbeat | Kind::Stop)
}

/// Since when the broker has refused every message of a kind; `None` once it has taken one.
#[derive(Default)]
pub(super) struct Refusals(HashMap<Kind, Option<Instant>>);

impl Refusals {
    /// Another channel would be better off.
    pub(super) fn are_for_ever(&mut self, kind: Kind, published: Published) -> bool {
        if published != Published::Refused {
            self.0.insert(kind, None);
            return false;
        }
        let since = self.0.entry(kind).or_insert_with(|| Some(Instant::now()));
        since.is_some_and(|since| since.elapsed() >= REFUSED_FOR)
    }
}
