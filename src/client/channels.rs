//! A client's channels, and what RabbitMQ does to them when a queue's leader is lost.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    broker::{BrokerError, Link, Names, Published, RpcChannel, RpcEvent},
    wire::Kind,
};

/// How long the broker may refuse every message of a kind on a new channel. Where the leader of a
/// quorum queue dies just before a channel's first message to it, RabbitMQ 3.10 refuses all of
/// that channel's for ever, and takes those of the next channel.
const REFUSED_FOR: Duration = Duration::from_secs(3);

/// An event that has no confirm after so long may wait for a log's new leader.
const LEADERLESS: Duration = Duration::from_secs(1);

/// Events go to the logs and requests to other queues, on a channel each. RabbitMQ before 4.0
/// numbers what a channel has published to all queues alike, and when a log's leader changes it
/// takes what the channel appends next for a repetition: confirmed, and not in the log. Where there
/// is one log, its events have the same numbers either way; see [`UnconfirmedEvents`] for several.
pub(super) struct Channels {
    events: RpcChannel,
    requests: RpcChannel,
}

impl Channels {
    pub(super) async fn open(link: &Link, names: &Names) -> Result<Self, BrokerError> {
        Ok(Self {
            events: RpcChannel::open(link, names).await?,
            requests: RpcChannel::open(link, names).await?,
        })
    }

    /// Leaves the channel of the events, and what is under way on it, for another.
    pub(super) async fn renew_events(
        &mut self,
        link: &Link,
        names: &Names,
    ) -> Result<(), BrokerError> {
        self.events = RpcChannel::open(link, names).await?;
        Ok(())
    }

    pub(super) const fn of(&mut self, kind: Kind) -> &mut RpcChannel {
        match kind {
            Kind::Heartbeat | Kind::Stop => &mut self.events,
            Kind::Init | Kind::Status => &mut self.requests,
        }
    }

    /// The next confirm or reply. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Result<RpcEvent, BrokerError> {
        tokio::select! {
            event = self.events.next() => event,
            event = self.requests.next() => event,
        }
    }
}

/// Events of one channel without a confirm. Behind one that waited for a log's new leader, confirms
/// prove nothing: the channel has to be left, and what is under way on it to be repeated.
#[derive(Default)]
pub(super) struct UnconfirmedEvents(BTreeMap<u64, Instant>);

impl UnconfirmedEvents {
    pub(super) fn sent(&mut self, number: u64, kind: Kind) {
        if is_event(kind) {
            self.0.insert(number, Instant::now());
        }
    }

    /// The broker has said what became of a message. Returns whether to believe it.
    pub(super) fn settled(&mut self, number: u64) -> bool {
        let oldest = self.0.first_key_value();
        let waited = oldest.is_some_and(|(_, since)| since.elapsed() >= LEADERLESS);
        let event = self.0.remove(&number).is_some();
        if event && waited {
            self.0.clear();
        }
        !(event && waited)
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
