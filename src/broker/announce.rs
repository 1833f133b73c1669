//! Publishing lifecycle events, with confirms.

use futures_util::{FutureExt, StreamExt, stream::FuturesOrdered};
use lapin::{Channel, Confirmation};

use super::{
    BrokerError, Connection, OptionalPublisher,
    optional_publisher::properties,
    unconfirmed::{CONFIRM_WITHIN, Publishing, begin, publish},
};
use crate::wire::Notice;

/// The outcome of a published lifecycle event.
#[derive(Clone, Debug)]
pub enum Announced {
    /// Every bound queue has the event; there may be no such queue.
    Confirmed,
    /// A subscriber's queue rejects the event, for instance because it is full. The event is not
    /// published again, since all other queues have it.
    Refused,
    /// The event may be lost. The error is `None` if it was reported less than a minute ago.
    Failed(Option<BrokerError>),
}

/// Publishes lifecycle events to one exchange.
pub struct Announcer {
    publisher: OptionalPublisher,
    /// The channel of the unconfirmed events. `None` if it was closed or blocked since.
    channel: Option<Channel>,
    unconfirmed: FuturesOrdered<Publishing<(u64, lapin::Result<Option<Confirmation>>)>>,
}

impl Announcer {
    /// An announcer to `exchange` whose channel is not open yet.
    #[must_use]
    pub fn new(exchange: &str) -> Self {
        Self {
            publisher: OptionalPublisher::confirming(exchange),
            channel: None,
            unconfirmed: FuturesOrdered::new(),
        }
    }

    /// Opens the channel if it is not open; see [`OptionalPublisher::maintain`].
    pub fn maintain(&mut self, connection: &Connection) -> Option<BrokerError> {
        self.publisher.maintain(connection)
    }

    /// Publishes an event without waiting; [`Self::next`] returns its outcome under `number`. Fails
    /// at once if the exchange is missing, or if the connection is blocked and lapin would buffer
    /// it. After a failure, all events fail until [`Self::next`] has returned every outcome, because
    /// an event must not overtake one that is published again.
    pub fn announce(&mut self, number: u64, notice: Notice, connection: &Connection) {
        if self.unconfirmed.is_empty() {
            self.channel = self.publisher.channel(connection).cloned();
        }
        self.channel = self
            .channel
            .take_if(|channel| channel.status().connected() && !connection.is_blocked());
        let Some(channel) = self.channel.clone() else {
            let failed = std::future::ready((number, Ok(None)));
            return self.unconfirmed.push_back(Box::pin(failed));
        };
        let exchange = self.publisher.exchange.clone();
        self.unconfirmed.push_back(begin(async move {
            let properties = properties(&notice).with_delivery_mode(2);
            let key = notice.routing_key.into();
            let confirmed = publish(&channel, (exchange, key), &notice.body, properties, false);
            let confirmed = tokio::time::timeout(CONFIRM_WITHIN, confirmed).await;
            (number, confirmed.ok().transpose())
        }));
    }

    /// The outcome of the next event, in the order of publishing. Pending while no event is
    /// unconfirmed. Cancel safe.
    pub async fn next(&mut self) -> (u64, Announced) {
        match self.unconfirmed.next().await {
            Some((number, confirmed)) => (number, self.outcome(confirmed)),
            None => std::future::pending().await,
        }
    }

    /// The outcome of the next event, if it has arrived.
    pub fn try_next(&mut self) -> Option<(u64, Announced)> {
        self.next().now_or_never()
    }

    fn outcome(&mut self, confirmed: lapin::Result<Option<Confirmation>>) -> Announced {
        match confirmed {
            Ok(Some(Confirmation::Ack(_))) => Announced::Confirmed,
            Ok(Some(Confirmation::Nack(_))) => Announced::Refused,
            Ok(Some(Confirmation::NotRequested) | None) => Announced::Failed(None),
            Err(error) => {
                let report = self.publisher.may_report();
                Announced::Failed(report.then(|| error.into()))
            }
        }
    }
}
