//! One connection for replies, and the replies published on it.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use lapin::{BasicProperties, Channel, Confirmation, types::ShortString};
use tokio::time::{Instant, sleep};

use super::{PATIENCE, pending::PendingReply};
use crate::{
    broker::{
        Addresses, Backoff, BrokerError, Connection, Endpoint, Names,
        delivery::put_trace,
        direct,
        properties::{contract_headers, worker_properties},
        reply_to::ReplyRoute,
        unconfirmed::{Destination, Unconfirmed, confirming, publish},
    },
    deadline::until,
};

/// TTL of a reply in an ordinary reply queue, in milliseconds. Direct replies are not queued.
const REPLY_TTL_MS: &str = "10000";

pub(super) enum ConnectionEvent {
    /// The broker confirmed the reply. Its queue may not exist.
    Confirmed(u64, PendingReply),
    /// The reply became outdated before it was published.
    Expired(u64, PendingReply),
    /// The connection was lost, or could not be opened. These replies were unconfirmed.
    Lost(BrokerError, Vec<(u64, PendingReply)>),
}

type Opening =
    Pin<Box<dyn Future<Output = Result<Box<(Connection, Channel)>, BrokerError>> + Send>>;

enum State {
    /// Closed; to be opened after this delay.
    Closed(Duration),
    Opening(Opening),
    Open(Box<(Connection, Channel)>),
}

/// A connection that opens when a reply is to be published.
pub(super) struct ReplyConnection {
    endpoint: Endpoint,
    topics: ShortString,
    window: usize,
    state: State,
    backoff: Backoff,
    backlog: VecDeque<(u64, PendingReply)>,
    sent: BTreeMap<u64, Arc<PendingReply>>,
    confirms: Unconfirmed<(u64, lapin::Result<Confirmation>)>,
}

impl ReplyConnection {
    /// Creates a closed connection for at most `window` unconfirmed replies.
    pub(super) fn new(addresses: &Addresses, names: &Names, what: &str, window: usize) -> Self {
        Self {
            endpoint: Endpoint::new(addresses, 0, format!("streamwatch worker, {what}")),
            topics: names.mqtt_exchange().into(),
            window,
            state: State::Closed(Duration::ZERO),
            backoff: Backoff::over(addresses),
            backlog: VecDeque::new(),
            sent: BTreeMap::new(),
            confirms: Unconfirmed::new(),
        }
    }

    pub(super) fn push(&mut self, id: u64, pending: PendingReply) {
        self.backlog.push_back((id, pending));
    }

    pub(super) fn push_front(&mut self, id: u64, pending: PendingReply) {
        self.backlog.push_front((id, pending));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.backlog.is_empty() && self.sent.is_empty()
    }

    /// Takes the replies that are not published yet and match `wanted`.
    pub(super) fn take_if(
        &mut self,
        wanted: impl Fn(&PendingReply) -> bool,
    ) -> Vec<(u64, PendingReply)> {
        let backlog = std::mem::take(&mut self.backlog).into_iter();
        let (taken, left): (Vec<_>, Vec<_>) = backlog.partition(|(_, pending)| wanted(pending));
        self.backlog = left.into();
        taken
    }

    pub(super) async fn close(&mut self) {
        let left = std::mem::replace(&mut self.state, State::Closed(Duration::ZERO));
        if let State::Open(open) = left {
            open.0.close().await;
        }
    }

    /// The next outcome. Pending while the connection has no replies. Cancel safe.
    pub(super) async fn next(&mut self) -> ConnectionEvent {
        loop {
            if let Some(event) = self.expire() {
                return event;
            }
            if let Some(event) = self.advance() {
                return event;
            }
            let oldest = self.oldest();
            let opening = async {
                match &mut self.state {
                    State::Opening(opening) => opening.await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                opened = opening => match opened {
                    Ok(open) => self.state = State::Open(open),
                    Err(error) => {
                        self.endpoint.move_on();
                        return self.lost(error);
                    }
                },
                (id, confirmed) = self.confirms.next() => match confirmed {
                    Ok(_) => {
                        self.backoff.reset();
                        // The only reference: the publishing has ended.
                        if let Some(pending) = self.sent.remove(&id).and_then(Arc::into_inner) {
                            return ConnectionEvent::Confirmed(id, pending);
                        }
                    }
                    Err(error) => return self.lost(error.into()),
                },
                () = until(oldest.map(|at| at + PATIENCE)) => {}
            }
        }
    }

    fn oldest(&self) -> Option<Instant> {
        let sent = self.sent.values().next().map(|pending| pending.at);
        let unsent = self.backlog.front().map(|(_, pending)| pending.at);
        sent.into_iter().chain(unsent).min()
    }

    fn expire(&mut self) -> Option<ConnectionEvent> {
        if self.backlog.front().is_some_and(|(_, it)| it.is_late()) {
            let (id, pending) = self.backlog.pop_front()?;
            return Some(ConnectionEvent::Expired(id, pending));
        }
        if self
            .sent
            .values()
            .next()
            .is_some_and(|pending| pending.at.elapsed() >= PATIENCE)
        {
            // No confirm arrives: the connection is replaced.
            return Some(self.lost(BrokerError::Timeout {
                doing: "confirming a reply",
                waited: PATIENCE,
            }));
        }
        None
    }

    /// Closes the connection after `error`, and returns its unconfirmed replies.
    fn lost(&mut self, error: BrokerError) -> ConnectionEvent {
        let wait = if error.is_by_a_message() {
            Duration::ZERO
        } else {
            self.backoff.wait()
        };
        self.leave(wait);
        self.confirms = Unconfirmed::new();
        let sent = std::mem::take(&mut self.sent).into_iter();
        let unconfirmed = sent.filter_map(|(id, pending)| Some((id, Arc::into_inner(pending)?)));
        ConnectionEvent::Lost(error, unconfirmed.collect())
    }

    fn leave(&mut self, wait: Duration) {
        let left = std::mem::replace(&mut self.state, State::Closed(wait));
        if let State::Open(open) = left {
            tokio::spawn(async move { open.0.close().await });
        }
    }

    /// Opens the connection if there are replies, and publishes as many as the window allows.
    /// Stops at one that is outdated.
    fn advance(&mut self) -> Option<ConnectionEvent> {
        if let State::Open(open) = &self.state
            && !open.1.status().connected()
            && self.sent.is_empty()
        {
            self.leave(Duration::ZERO);
        }
        if let State::Closed(wait) = self.state
            && !self.backlog.is_empty()
        {
            let endpoint = self.endpoint.clone();
            self.state = State::Opening(Box::pin(async move {
                sleep(wait).await;
                let connection = endpoint.open().await?;
                let channel = confirming(&connection).await?;
                Ok(Box::new((connection, channel)))
            }));
        }
        let State::Open(open) = &self.state else {
            return None;
        };
        let (connection, channel) = &**open;
        while self.sent.len() < self.window
            && !connection.is_blocked()
            && let Some((id, pending)) = self.backlog.pop_front()
        {
            if pending.is_late() {
                return Some(ConnectionEvent::Expired(id, pending));
            }
            let pending = Arc::new(pending);
            self.sent.insert(id, Arc::clone(&pending));
            let (channel, topics) = (channel.clone(), self.topics.clone());
            self.confirms.begin(async move {
                let (to, properties) = addressed(&pending, topics);
                let body = &pending.reply.body;
                (id, publish(&channel, to, body, properties, false).await)
            });
        }
        None
    }
}

fn addressed(pending: &PendingReply, topics: ShortString) -> (Destination, BasicProperties) {
    let mut headers = contract_headers();
    if let Some(trace) = &pending.to.trace {
        put_trace(&mut headers, trace);
    }
    let properties = worker_properties(pending.reply.kind);
    match &pending.to.route {
        ReplyRoute::Queue { name, correlation } => {
            let mut properties = match correlation.clone() {
                Some(id) => id.put_correlation(properties, &mut headers),
                None => properties,
            };
            properties = properties.with_headers(headers);
            if !direct::is_direct(name.as_str()) {
                properties = properties.with_expiration(REPLY_TTL_MS.into());
            }
            (("".into(), name.clone()), properties)
        }
        ReplyRoute::Topic(topic) => {
            topic.put_correlation(&mut headers);
            let properties = properties
                .with_headers(headers)
                .with_expiration(REPLY_TTL_MS.into());
            ((topics, topic.key.clone()), properties)
        }
    }
}
