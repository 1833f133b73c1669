//! Publishing a message again, under the header that it lacked.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Confirmation,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    BrokerError, Link, Names, ReplyTo, RequestDelivery,
    delivery::{Way, put_trace},
    unconfirmed::{Unconfirmed, confirming, publish},
};

/// How long a confirm may take. Long: an alarm must not use up the deliveries that a message has.
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);

/// The outcome of a routed message.
#[derive(Clone, Debug)]
pub enum Forwarded {
    /// A partition has it.
    Confirmed,
    /// The broker does not take it: a queue is full, or part of the topology is missing.
    Refused,
    /// Nobody knows.
    Lost(BrokerError),
}

/// Publishes messages without the header `account` again, with it. `T` identifies a message.
pub struct Forwarder<T> {
    channel: Channel,
    exchange: ShortString,
    unconfirmed: Unconfirmed<(T, Forwarded)>,
}

impl<T: Send + 'static> Forwarder<T> {
    /// A forwarder on a connection for publishing.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn new(link: &Link, names: &Names) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: confirming(link).await?,
            // Past the header exchange: what finds no partition must not come back to the intake.
            exchange: names.hash().into(),
            unconfirmed: Unconfirmed::new(),
        })
    }

    /// Publishes a message again without waiting; [`Self::next`] returns the outcome with `which`.
    /// Messages are written in the order of the calls.
    ///
    /// It is rebuilt from the properties of the contract. Other properties could close the channel
    /// (`user_id`) or act a second time (`CC`, `expiration`).
    pub fn forward(
        &mut self,
        which: T,
        message: RequestDelivery,
        account: &str,
        reply_to: Option<&ReplyTo>,
    ) {
        let mut headers = FieldTable::default();
        headers.insert("account".into(), AMQPValue::LongString(account.into()));
        if let Some(trace) = message.trace() {
            put_trace(&mut headers, &trace);
        }
        let mut properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        let (key, body, message_id, correlation_id) = message.into_parts();
        if let Some(id) = message_id {
            properties = properties.with_message_id(id);
        }
        if let Some(id) = correlation_id {
            properties = properties.with_correlation_id(id);
        }
        match reply_to.map(|to| &to.way) {
            Some(Way::Queue { name, .. }) => properties = properties.with_reply_to(name.clone()),
            Some(Way::Topic(topic)) => topic.put(&mut headers),
            None => {}
        }
        let properties = properties.with_headers(headers);
        let (channel, exchange) = (self.channel.clone(), self.exchange.clone());
        self.unconfirmed.begin(async move {
            let confirmed = publish(&channel, exchange, key, &body, properties);
            let forwarded = match tokio::time::timeout(CONFIRM_WITHIN, confirmed).await {
                Ok(Ok(Confirmation::Ack(None))) => Forwarded::Confirmed,
                Ok(Ok(_)) => Forwarded::Refused,
                Ok(Err(error)) => Forwarded::Lost(error.into()),
                Err(_) => Forwarded::Lost(BrokerError::Timeout {
                    doing: "publishing a message again",
                    waited: CONFIRM_WITHIN,
                }),
            };
            (which, forwarded)
        });
    }

    /// How many are not confirmed yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.unconfirmed.len()
    }

    /// Returns the outcome of the next message. Pending while there is none. Cancel safe.
    pub async fn next(&mut self) -> (T, Forwarded) {
        self.unconfirmed.next().await
    }
}
