//! Announcing the lifecycle, with confirms.

use futures_util::{FutureExt, StreamExt, stream::FuturesOrdered};
use lapin::Confirmation;

use super::{
    BrokerError, Link, OptionalPublisher,
    optional_publisher::properties,
    unconfirmed::{CONFIRM_WITHIN, Publishing, begin, publish_to_any},
};
use crate::wire::Notice;

/// The outcome of an announcement.
#[derive(Clone, Debug)]
pub enum Announced {
    /// Every bound queue has stored it; there may be none.
    Confirmed,
    /// A subscriber's queue rejected it, for example because it is full. The others have it and
    /// must not get repetitions.
    Refused,
    /// It was not confirmed. Contains a reason if it is to be logged.
    Failed(Option<BrokerError>),
}

/// Announces to one exchange.
pub struct Announcer {
    outlet: OptionalPublisher,
    unconfirmed: FuturesOrdered<Publishing<(u64, lapin::Result<Option<Confirmation>>)>>,
}

impl Announcer {
    /// An announcer to `exchange` whose channel is not open yet.
    #[must_use]
    pub fn new(exchange: &str) -> Self {
        Self {
            outlet: OptionalPublisher::confirming(exchange),
            unconfirmed: FuturesOrdered::new(),
        }
    }

    /// Opens the channel where it is not open; see [`OptionalPublisher::maintain`].
    pub fn maintain(&mut self, link: &Link) -> Option<BrokerError> {
        self.outlet.maintain(link)
    }

    /// Publishes without waiting; [`Self::next`] returns the outcome with `number`. Fails at once
    /// while the exchange is missing or the broker blocks the connection, because lapin would
    /// buffer the message.
    pub fn announce(&mut self, number: u64, notice: Notice, link: &Link) {
        let Some(channel) = self.outlet.channel(link).cloned() else {
            let failed = std::future::ready((number, Ok(None)));
            return self.unconfirmed.push_back(Box::pin(failed));
        };
        let exchange = self.outlet.exchange().clone();
        self.unconfirmed.push_back(begin(async move {
            let properties = properties(&notice).with_delivery_mode(2);
            let key = notice.routing_key.into();
            let told = publish_to_any(&channel, exchange, key, &notice.body, properties);
            let told = tokio::time::timeout(CONFIRM_WITHIN, told).await;
            (number, told.ok().transpose())
        }));
    }

    /// Returns the outcome of the next announcement, in the order of the calls. Pending while there
    /// is none. Cancel safe.
    pub async fn next(&mut self) -> (u64, Announced) {
        match self.unconfirmed.next().await {
            Some((number, told)) => (number, self.judge(told)),
            None => std::future::pending().await,
        }
    }

    /// The same, where it is known by now.
    pub fn try_next(&mut self) -> Option<(u64, Announced)> {
        self.next().now_or_never()
    }

    fn judge(&mut self, told: lapin::Result<Option<Confirmation>>) -> Announced {
        match told {
            Ok(Some(Confirmation::Ack(_))) => Announced::Confirmed,
            Ok(Some(Confirmation::Nack(_))) => Announced::Refused,
            Ok(Some(Confirmation::NotRequested) | None) => Announced::Failed(None),
            Err(error) => {
                let worth = self.outlet.worth_saying();
                Announced::Failed(worth.then(|| error.into()))
            }
        }
    }
}
