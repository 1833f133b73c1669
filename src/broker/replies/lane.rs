//! One connection for replies, and the replies that are on it.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use lapin::{BasicProperties, Channel, Confirmation, types::ShortString};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Letter, PATIENCE};
use crate::broker::{
    Addresses, BrokerError, Link, Names, backoff,
    delivery::{Way, put_trace},
    direct,
    properties::{contract, ours},
    unconfirmed::{Unconfirmed, confirming, publish_to_any},
};

/// How long a reply waits in an ordinary reply queue, in milliseconds. A direct one does not wait.
const REPLY_TTL_MS: &str = "10000";

/// Outcomes of replies.
pub(super) enum LaneEvent {
    /// The broker has confirmed it. Its queue may be gone.
    Confirmed(u64, Letter),
    /// It has waited too long.
    Expired(u64, Letter),
    /// The connection is lost, or does not open. These were on it and were not confirmed.
    Lost(BrokerError, Vec<(u64, Letter)>),
}

type Opening = Pin<Box<dyn Future<Output = Result<Box<(Link, Channel)>, BrokerError>> + Send>>;

enum State {
    Closed(Duration),
    Opening(Opening),
    Open(Box<(Link, Channel)>),
}

/// A connection that opens when it is needed.
pub(super) struct Lane {
    addresses: Addresses,
    node: usize,
    name: String,
    topics: ShortString,
    window: usize,
    state: State,
    waits: Box<dyn Iterator<Item = Duration> + Send>,
    backlog: VecDeque<(u64, Letter)>,
    sent: BTreeMap<u64, Arc<Letter>>,
    confirms: Unconfirmed<(u64, lapin::Result<Confirmation>)>,
}

impl Lane {
    /// A lane with at most `window` replies that are not confirmed.
    pub(super) fn new(addresses: &Addresses, names: &Names, what: &str, window: usize) -> Self {
        Self {
            addresses: addresses.clone(),
            node: 0,
            name: format!("streamwatch worker, {what}"),
            topics: names.mqtt_exchange().into(),
            window,
            state: State::Closed(Duration::ZERO),
            waits: Box::new(backoff()),
            backlog: VecDeque::new(),
            sent: BTreeMap::new(),
            confirms: Unconfirmed::new(),
        }
    }

    pub(super) fn push(&mut self, id: u64, letter: Letter) {
        self.backlog.push_back((id, letter));
    }

    pub(super) fn push_front(&mut self, id: u64, letter: Letter) {
        self.backlog.push_front((id, letter));
    }

    /// Returns whether no reply waits here.
    pub(super) fn is_idle(&self) -> bool {
        self.backlog.is_empty() && self.sent.is_empty()
    }

    /// Takes those that are not sent and are as `wanted`.
    pub(super) fn take_if(&mut self, wanted: impl Fn(&Letter) -> bool) -> Vec<(u64, Letter)> {
        let backlog = std::mem::take(&mut self.backlog).into_iter();
        let (taken, left): (Vec<_>, Vec<_>) = backlog.partition(|(_, letter)| wanted(letter));
        self.backlog = left.into();
        taken
    }

    pub(super) async fn close(&mut self) {
        let left = std::mem::replace(&mut self.state, State::Closed(Duration::ZERO));
        if let State::Open(open) = left {
            open.0.close().await;
        }
    }

    /// Returns the outcome of the next reply. Pending while there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> LaneEvent {
        loop {
            if let Some(event) = self.expire() {
                return event;
            }
            self.advance();
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
                        self.node += 1;
                        return self.lost(error);
                    }
                },
                (id, confirmed) = self.confirms.next() => match confirmed {
                    Ok(_) => {
                        self.waits = Box::new(backoff());
                        // The only reference, as its publishing has ended.
                        if let Some(letter) = self.sent.remove(&id).and_then(Arc::into_inner) {
                            return LaneEvent::Confirmed(id, letter);
                        }
                    }
                    Err(error) => return self.lost(error.into()),
                },
                () = until(oldest.map(|at| at + PATIENCE)) => {}
            }
        }
    }

    /// When the reply that waits for the longest time began to.
    fn oldest(&self) -> Option<Instant> {
        let sent = self.sent.values().next().map(|letter| letter.at);
        let unsent = self.backlog.front().map(|(_, letter)| letter.at);
        sent.into_iter().chain(unsent).min()
    }

    fn expire(&mut self) -> Option<LaneEvent> {
        let late = |at: Instant| at.elapsed() >= PATIENCE;
        if self
            .backlog
            .front()
            .is_some_and(|(_, letter)| late(letter.at))
        {
            let (id, letter) = self.backlog.pop_front()?;
            return Some(LaneEvent::Expired(id, letter));
        }
        if self
            .sent
            .values()
            .next()
            .is_some_and(|letter| late(letter.at))
        {
            // Nothing is confirmed: this connection is of no use.
            return Some(self.lost(BrokerError::Timeout {
                doing: "confirming a reply",
                waited: PATIENCE,
            }));
        }
        None
    }

    /// The connection is of no use any more.
    fn lost(&mut self, error: BrokerError) -> LaneEvent {
        let wait = if error.is_by_a_message() {
            Duration::ZERO
        } else {
            self.waits.next().unwrap_or(PATIENCE)
        };
        self.leave(wait);
        self.confirms = Unconfirmed::new();
        let sent = std::mem::take(&mut self.sent).into_iter();
        let letters = sent.filter_map(|(id, letter)| Some((id, Arc::into_inner(letter)?)));
        LaneEvent::Lost(error, letters.collect())
    }

    fn leave(&mut self, wait: Duration) {
        let left = std::mem::replace(&mut self.state, State::Closed(wait));
        if let State::Open(open) = left {
            tokio::spawn(async move { open.0.close().await });
        }
    }

    /// Opens the connection if it is needed, and publishes what it takes now.
    fn advance(&mut self) {
        if let State::Open(open) = &self.state
            && !open.1.status().connected()
            && self.sent.is_empty()
        {
            self.leave(Duration::ZERO);
        }
        if let State::Closed(wait) = self.state
            && !self.backlog.is_empty()
        {
            let (addresses, node, name) = (self.addresses.clone(), self.node, self.name.clone());
            self.state = State::Opening(Box::pin(async move {
                sleep(wait).await;
                let link = Link::open(&addresses, node, &name).await?;
                let channel = confirming(&link).await?;
                Ok(Box::new((link, channel)))
            }));
        }
        let State::Open(open) = &self.state else {
            return;
        };
        let (link, channel) = &**open;
        while self.sent.len() < self.window
            && !link.is_blocked()
            && let Some((id, letter)) = self.backlog.pop_front()
        {
            let letter = Arc::new(letter);
            self.sent.insert(id, Arc::clone(&letter));
            let (channel, topics) = (channel.clone(), self.topics.clone());
            self.confirms.begin(async move {
                let (exchange, key, properties) = addressed(&letter, topics);
                let body = &letter.reply.body;
                (
                    id,
                    publish_to_any(&channel, exchange, key, body, properties).await,
                )
            });
        }
    }
}

/// Exchange, routing key and properties of a reply.
fn addressed(letter: &Letter, topics: ShortString) -> (ShortString, ShortString, BasicProperties) {
    let mut headers = contract();
    if let Some(trace) = &letter.to.trace {
        put_trace(&mut headers, trace);
    }
    let properties = ours(letter.reply.kind);
    match &letter.to.way {
        Way::Queue {
            name,
            correlation_id,
        } => {
            let mut properties = properties.with_headers(headers);
            if let Some(id) = correlation_id {
                properties = properties.with_correlation_id(id.clone());
            }
            if !direct::is_direct(name.as_str()) {
                properties = properties.with_expiration(REPLY_TTL_MS.into());
            }
            ("".into(), name.clone(), properties)
        }
        Way::Topic(topic) => {
            topic.put_correlation(&mut headers);
            let properties = properties
                .with_headers(headers)
                .with_expiration(REPLY_TTL_MS.into());
            (topics, topic.key.clone(), properties)
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
