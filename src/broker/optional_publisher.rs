//! Optional publishers: messages for subscribers, without which a worker goes on.

use std::time::Duration;

use futures_util::FutureExt;
use lapin::{
    BasicProperties, Channel,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, ShortString},
};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    BrokerError, Link,
    connect::within,
    properties::{contract, ours},
};
use crate::wire::Notice;

/// How soon a channel that is closed is opened again, for the first time and at most; in between
/// the wait doubles. A channel that stayed open for longer than the latter begins anew.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(40);
/// Interval at which a lasting error is logged again.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A channel to an exchange that may not be there. A message to a missing exchange closes its
/// channel: this one has nothing else on it, and is opened again later. Nothing asks beforehand
/// whether the exchange is there: RabbitMQ 4.2.6 and 4.3.0 demand permission to configure for that.
pub struct OptionalPublisher {
    exchange: ShortString,
    confirms: bool,
    channel: Option<Channel>,
    opening: Option<Opening>,
    /// Error of the last opening that is not logged yet.
    trouble: Option<BrokerError>,
    tried: Option<Instant>,
    /// How long to wait from then on.
    wait: Duration,
    said: Option<Instant>,
}

/// A channel that is being opened in the background. Dropping it ends that.
struct Opening {
    task: JoinHandle<Result<Channel, BrokerError>>,
    /// RabbitMQ had closed the one before.
    again: bool,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OptionalPublisher {
    /// Creates a closed publisher to `exchange`, without confirms.
    #[must_use]
    pub fn new(exchange: &str) -> Self {
        Self {
            exchange: exchange.into(),
            confirms: false,
            channel: None,
            opening: None,
            trouble: None,
            tried: None,
            wait: FIRST_WAIT,
            said: None,
        }
    }

    /// The same with confirms.
    pub(super) fn confirming(exchange: &str) -> Self {
        Self {
            confirms: true,
            ..Self::new(exchange)
        }
    }

    /// The channel, where it is open and the broker takes messages.
    pub(super) fn channel(&mut self, link: &Link) -> Option<&Channel> {
        if let Some(trouble) = self.take_opened() {
            self.trouble = Some(trouble);
        }
        self.open_channel().filter(|_| !link.is_blocked())
    }

    /// The channel, where it is open.
    pub(super) fn open_channel(&self) -> Option<&Channel> {
        self.channel.as_ref().filter(|c| c.status().connected())
    }

    pub(super) fn exchange(&self) -> &ShortString {
        &self.exchange
    }

    /// Opens the channel in the background if it is not open, and the last try is some time ago.
    /// Does not wait. Returns the reason of a failure: once, and once a minute while it lasts.
    pub fn maintain(&mut self, link: &Link) -> Option<BrokerError> {
        if self.opening.is_some() || self.trouble.is_some() {
            let trouble = self.take_opened();
            return trouble.or_else(|| self.trouble.take());
        }
        let is_open = self.open_channel().is_some();
        let tried = self.tried.map(|at| at.elapsed());
        if is_open || tried.is_some_and(|ago| ago < self.wait) || link.is_blocked() {
            return None;
        }
        self.tried = Some(Instant::now());
        let again = self.channel.take().is_some();
        self.wait = match tried {
            Some(ago) if ago <= LONGEST_WAIT => (2 * self.wait).min(LONGEST_WAIT),
            _ => FIRST_WAIT,
        };
        let task = tokio::spawn(open(link.channel_later(), self.confirms));
        self.opening = Some(Opening { task, again });
        None
    }

    /// Takes the channel that has been opened in the background, if it has.
    fn take_opened(&mut self) -> Option<BrokerError> {
        let opening = self.opening.as_mut()?;
        let opened = (&mut opening.task).now_or_never()?;
        let again = opening.again;
        self.opening = None;
        let trouble = match opened.ok()? {
            Ok(channel) => {
                self.channel = Some(channel);
                let closed = format!(
                    "it has closed the channel to {}: the exchange is missing, or this user may \
                     not publish to it",
                    self.exchange
                );
                again.then_some(BrokerError::AccessRefused(closed))
            }
            // Reported by the owner of the connection.
            Err(BrokerError::Lost(_)) => None,
            Err(error) => Some(error),
        };
        trouble.filter(|_| self.worth_saying())
    }

    pub(super) fn worth_saying(&mut self) -> bool {
        let lately = self.said.is_some_and(|at| at.elapsed() < SAY_EVERY);
        if !lately {
            self.said = Some(Instant::now());
        }
        !lately
    }

    /// Hands a message to the connection, and forgets it. Returns false where it cannot.
    #[must_use]
    pub fn tell(&mut self, notice: &Notice, link: &Link) -> bool {
        let Some(channel) = self.channel(link).cloned() else {
            return false;
        };
        let key = notice.routing_key.as_str().into();
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(
            self.exchange.clone(),
            key,
            options,
            &notice.body,
            properties(notice),
        );
        matches!(sent.now_or_never(), None | Some(Ok(_)))
    }
}

/// Opens a channel.
async fn open(
    channel: impl Future<Output = Result<Channel, BrokerError>> + Send,
    confirms: bool,
) -> Result<Channel, BrokerError> {
    let channel = channel.await?;
    if confirms {
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        within("asking for confirms", confirms).await?;
    }
    Ok(channel)
}

/// A notice's properties.
pub(super) fn properties(notice: &Notice) -> BasicProperties {
    let mut headers = contract();
    if let Some(account) = &notice.account {
        let account = AMQPValue::LongString(account.as_str().into());
        headers.insert("account".into(), account);
    }
    let mut properties = ours(notice.kind).with_headers(headers);
    if let Some(id) = notice.message_id {
        properties = properties.with_message_id(id.to_string().into());
    }
    properties
}
