//! Publishing to exchanges that a worker can do without, such as those of subscribers.

use std::time::Duration;

use futures_util::FutureExt;
use lapin::{
    BasicProperties, Channel,
    types::{AMQPValue, ShortString},
};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    Backoff, BrokerError, Connection,
    properties::{contract_headers, worker_properties},
    unconfirmed::{with_confirms, write},
};
use crate::wire::{ACCOUNT_HEADER, Notice};

/// Shortest and longest delay before a closed channel is opened again.
const FIRST_WAIT: Duration = Duration::from_secs(3);
const LONGEST_WAIT: Duration = Duration::from_secs(40);
/// Interval at which a lasting error is reported again.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// A publisher to an exchange that may be missing. A message to a missing exchange closes the
/// channel, so the channel serves this exchange alone, and is opened again later. The exchange is
/// not checked beforehand: RabbitMQ 4.2.6 and 4.3.0 demand permission to configure for that.
pub struct OptionalPublisher {
    pub(super) exchange: ShortString,
    confirms: bool,
    channel: Option<Channel>,
    opening: Option<Opening>,
    /// The error of the last opening, still to be reported.
    unreported: Option<BrokerError>,
    /// The earliest time of the next attempt to open the channel; `None` for now.
    next_attempt: Option<Instant>,
    backoff: Backoff,
    reported: Option<Instant>,
}

/// A channel that is being opened in the background. Dropping it aborts the opening.
struct Opening {
    task: JoinHandle<Result<Channel, BrokerError>>,
    /// Whether RabbitMQ closed the previous channel.
    again: bool,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OptionalPublisher {
    /// Creates a publisher to `exchange`, without confirms. Its channel is not open yet.
    #[must_use]
    pub fn new(exchange: &str) -> Self {
        Self {
            exchange: exchange.into(),
            confirms: false,
            channel: None,
            opening: None,
            unreported: None,
            next_attempt: None,
            backoff: Backoff::between(FIRST_WAIT, LONGEST_WAIT),
            reported: None,
        }
    }

    pub(super) fn confirming(exchange: &str) -> Self {
        Self {
            confirms: true,
            ..Self::new(exchange)
        }
    }

    /// The channel, if it is open and the connection is not blocked.
    pub(super) fn channel(&mut self, connection: &Connection) -> Option<&Channel> {
        if let Some(error) = self.take_opened() {
            self.unreported = Some(error);
        }
        self.open_channel().filter(|_| !connection.is_blocked())
    }

    pub(super) fn open_channel(&self) -> Option<&Channel> {
        self.channel.as_ref().filter(|c| c.status().connected())
    }

    /// Opens the channel in the background if it is closed and the delay has passed. Does not wait.
    /// Returns the error of an earlier opening: once, then once a minute while the error lasts.
    pub fn maintain(&mut self, connection: &Connection) -> Option<BrokerError> {
        if self.opening.is_some() || self.unreported.is_some() {
            let error = self.take_opened();
            return error.or_else(|| self.unreported.take());
        }
        let is_open = self.open_channel().is_some();
        let is_early = self.next_attempt.is_some_and(|at| Instant::now() < at);
        if is_open || is_early || connection.is_blocked() {
            return None;
        }
        self.next_attempt = Some(Instant::now() + self.backoff.wait());
        let again = self.channel.take().is_some();
        let (channel, confirms) = (connection.channel_later(), self.confirms);
        let task = tokio::spawn(async move {
            let channel = channel.await?;
            if confirms {
                with_confirms(channel).await
            } else {
                Ok(channel)
            }
        });
        self.opening = Some(Opening { task, again });
        None
    }

    /// Takes the channel opened in the background, or the error to report.
    fn take_opened(&mut self) -> Option<BrokerError> {
        let opening = self.opening.as_mut()?;
        let opened = (&mut opening.task).now_or_never()?;
        let again = opening.again;
        self.opening = None;
        let error = match opened.ok()? {
            Ok(channel) => {
                self.channel = Some(channel);
                again.then(|| BrokerError::CannotPublish(self.exchange.to_string()))
            }
            // The owner of the connection reports it.
            Err(BrokerError::Lost(_)) => None,
            Err(error) => Some(error),
        };
        error.filter(|_| self.may_report())
    }

    /// Returns whether an error may be reported now, at most once a minute. A true answer counts as
    /// the report.
    pub(super) fn may_report(&mut self) -> bool {
        let lately = self.reported.is_some_and(|at| at.elapsed() < REPORT_EVERY);
        if !lately {
            self.reported = Some(Instant::now());
        }
        !lately
    }

    /// Publishes a message without a confirm. Returns false if the channel is closed, or the
    /// connection blocked.
    #[must_use]
    pub fn publish(&mut self, notice: &Notice, connection: &Connection) -> bool {
        let Some(channel) = self.channel(connection).cloned() else {
            return false;
        };
        let to = (self.exchange.clone(), notice.routing_key.as_str().into());
        let sent = write(&channel, to, &notice.body, properties(notice), false);
        matches!(sent.now_or_never(), None | Some(Ok(_)))
    }
}

pub(super) fn properties(notice: &Notice) -> BasicProperties {
    let mut headers = contract_headers();
    if let Some(account) = &notice.account {
        let account = AMQPValue::LongString(account.as_str().into());
        headers.insert(ACCOUNT_HEADER.into(), account);
    }
    let mut properties = worker_properties(notice.kind).with_headers(headers);
    if let Some(id) = notice.message_id {
        properties = properties.with_message_id(id.to_string().into());
    }
    properties
}
