//! A client's channels, and what RabbitMQ does to them when a queue's leader is lost.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    broker::{BrokerError, Link, Names, Published, RpcChannel, RpcEvent},
    wire::Kind,
};

/// How long the broker may refuse every message of a kind on a new channel. Where the leader of a
/// quorum queue dies just before a channel's first message to it, RabbitMQ 3.10 refuses all of
/// that channel's for ever, and takes those of the next channel.
const REFUSED_FOR: Duration = Duration::from_secs(3);

/// Events go to a log and requests to other queues, on a channel each. RabbitMQ before 4.0 numbers
/// what a channel has published to all queues alike, and when a log's leader changes it takes what
/// the channel appends next for a repetition: confirmed, and not in the log.
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
