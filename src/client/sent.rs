//! A message in transit: the sender's half and the connection's half.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use super::ClientError;
use crate::{
    broker::{BrokerError, Published},
    domain::Settings,
    wire::{self, News, Reply},
};

/// Most replies to a request that each partition answers, errors included.
const MAX_REPLIES: usize = 2 * Settings::MAX_PARTITIONS as usize;

#[derive(Clone, Debug)]
pub(super) enum ConnectionStatus {
    /// Connecting for the first time, to these addresses.
    Connecting(String),
    Connected,
    /// RabbitMQ has raised an alarm and blocks publishing.
    Blocked,
    Down(BrokerError),
}

impl ConnectionStatus {
    /// The error of a message that was not sent within `waited`.
    pub(super) fn not_sent(&self, waited: Duration) -> ClientError {
        match self {
            Self::Connected => ClientError::NotSent(waited),
            Self::Blocked => ClientError::Blocked(waited),
            Self::Down(error) => ClientError::Broker(error.clone()),
            Self::Connecting(address) => ClientError::Broker(BrokerError::Unreachable {
                address: address.clone(),
                reason: format!("no connection within {waited:?}"),
            }),
        }
    }
}

/// The sender's half: it receives the confirm and, for a request, the reply. Dropping it before the
/// message is published cancels the message.
pub(super) struct Sent {
    confirmed: oneshot::Receiver<Result<(), ClientError>>,
    replied: oneshot::Receiver<Result<Reply, ClientError>>,
    status: watch::Receiver<ConnectionStatus>,
    began: Instant,
    patience: Duration,
}

impl Sent {
    pub(super) fn new(
        reply: bool,
        status: watch::Receiver<ConnectionStatus>,
        began: Instant,
        patience: Duration,
    ) -> (Waiting, Self) {
        let (confirm, confirmed) = oneshot::channel();
        let (answer, replied) = oneshot::channel();
        let waiting = Waiting {
            confirmed: Some(confirm),
            replied: reply.then_some(Replied::Once(answer)),
        };
        let sent = Self {
            confirmed,
            replied,
            status,
            began,
            patience,
        };
        (waiting, sent)
    }

    fn left(&self) -> Duration {
        self.patience.saturating_sub(self.began.elapsed())
    }

    pub(super) async fn confirm(&mut self) -> Result<(), ClientError> {
        match timeout(self.left(), &mut self.confirmed).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(self.not_taken()),
        }
    }

    pub(super) async fn reply(&mut self) -> Result<Reply, ClientError> {
        self.reply_within(self.left()).await
    }

    /// Waits for the reply for `patience` from now on, regardless of the time waited before.
    pub(super) async fn reply_within(&mut self, patience: Duration) -> Result<Reply, ClientError> {
        let reply = match timeout(patience, &mut self.replied).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(_)) | Err(_) => return Err(self.no_reply()),
        };
        match reply {
            Reply::News(News::Error { error }) => Err(ClientError::Refused(error)),
            reply => Ok(reply),
        }
    }

    /// The error of a request without a reply: if it was confirmed, no worker has replied, else the
    /// broker has not confirmed it.
    fn no_reply(&mut self) -> ClientError {
        match self.confirmed.try_recv() {
            Ok(Ok(())) => ClientError::NoAnswer(self.patience),
            Ok(Err(error)) => error,
            Err(_) => self.not_taken(),
        }
    }

    fn not_taken(&self) -> ClientError {
        match &*self.status.borrow() {
            ConnectionStatus::Down(error) => ClientError::Broker(error.clone()),
            _ => ClientError::NotTaken(self.patience),
        }
    }
}

/// The sender's half of a request that each partition answers.
pub(super) struct SentToEach {
    sent: Sent,
    replies: mpsc::Receiver<Result<Reply, ClientError>>,
}

impl SentToEach {
    pub(super) fn new(
        status: watch::Receiver<ConnectionStatus>,
        began: Instant,
        patience: Duration,
    ) -> (Waiting, Self) {
        let (mut waiting, sent) = Sent::new(false, status, began, patience);
        let (each, replies) = mpsc::channel(MAX_REPLIES);
        waiting.replied = Some(Replied::Each(each));
        (waiting, Self { sent, replies })
    }

    pub(super) async fn reply(&mut self) -> Result<Reply, ClientError> {
        match timeout(self.sent.left(), self.replies.recv()).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => Err(self.sent.no_reply()),
        }
    }

    /// Whether the time limit for replies has passed.
    pub(super) fn is_over(&self) -> bool {
        self.sent.left().is_zero()
    }
}

pub(super) enum Replied {
    Once(oneshot::Sender<Result<Reply, ClientError>>),
    Each(mpsc::Sender<Result<Reply, ClientError>>),
}

impl Replied {
    fn is_closed(&self) -> bool {
        match self {
            Self::Once(answer) => answer.is_closed(),
            Self::Each(each) => each.is_closed(),
        }
    }

    /// Passes on a reply or an error. Returns whether further ones are expected.
    fn send(self, reply: Result<Reply, ClientError>) -> Option<Self> {
        match self {
            Self::Once(answer) => {
                let _ = answer.send(reply);
                None
            }
            Self::Each(each) => {
                // More than one reply of each partition is not expected.
                let _ = each.try_send(reply);
                (!each.is_closed()).then_some(Self::Each(each))
            }
        }
    }
}

/// The connection's half: it passes on the confirm and the reply. A reply can arrive before the
/// confirm, and implies it.
pub(super) struct Waiting {
    confirmed: Option<oneshot::Sender<Result<(), ClientError>>>,
    pub(super) replied: Option<Replied>,
}

impl Waiting {
    /// Returns whether the sender has timed out or was dropped.
    pub(super) fn is_abandoned(&self) -> bool {
        let gone = |closed: Option<bool>| closed.unwrap_or(true);
        gone(self.confirmed.as_ref().map(oneshot::Sender::is_closed))
            && gone(self.replied.as_ref().map(Replied::is_closed))
    }

    /// Passes on a confirm or an error. Returns whether a reply is still expected.
    pub(super) fn published(&mut self, published: Published) -> bool {
        let outcome = match published {
            Published::Confirmed => Ok(()),
            Published::Unroutable => Err(ClientError::NoTopology),
            Published::Refused => Err(ClientError::Busy),
        };
        if let Err(error) = &outcome
            && let Some(replied) = self.replied.take()
        {
            // Other partitions may have stored the request that one rejects.
            self.replied = replied.send(Err(error.clone()));
        }
        if let Some(confirmed) = self.confirmed.take() {
            let _ = confirmed.send(outcome);
        }
        self.replied.is_some()
    }

    /// Passes on a reply. Returns whether further ones are expected.
    pub(super) fn answered(&mut self, body: &[u8]) -> bool {
        if let Some(confirmed) = self.confirmed.take() {
            let _ = confirmed.send(Ok(()));
        }
        if let Some(replied) = self.replied.take() {
            let reply = wire::decode_reply(body).map_err(|e| ClientError::BadReply(e.to_string()));
            self.replied = replied.send(reply);
        }
        self.replied.is_some()
    }

    /// Passes on the error of a lost connection or channel.
    pub(super) fn failed(self, error: &ClientError) {
        if let Some(confirmed) = self.confirmed {
            let _ = confirmed.send(Err(error.clone()));
        }
        if let Some(replied) = self.replied {
            let _ = replied.send(Err(error.clone()));
        }
    }
}
