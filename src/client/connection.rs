//! One connection for any number of players and backends. It comes back by itself.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use super::{
    ClientError,
    channels::{Channels, Refusals, UnconfirmedEvents, is_event},
};
use crate::{
    broker::{Addresses, BrokerError, Link, Names, Outgoing, Published, RpcEvent, backoff},
    domain::{AccountId, Tenant},
    wire::{self, Kind, Reply, RoutingKey},
};

/// Most messages that wait for the connection, and most replies that are waited for.
const MOST_WAITING: usize = 10_000;

/// A connection that lasted so long ends the back-off.
const STEADY: Duration = Duration::from_secs(10);
/// How often those who stopped waiting are looked for, while there are too many.
const PURGE_EVERY: Duration = Duration::from_millis(100);

/// How a message is published and what is to come of it.
#[derive(Clone, Debug)]
pub(super) struct Send {
    pub(super) tenant: Tenant,
    pub(super) kind: Kind,
    pub(super) account: AccountId,
    pub(super) message_id: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Whoever waits for a message's fate. A reply may come before the confirm, and settles both.
struct Waiting {
    confirmed: Option<oneshot::Sender<Result<(), ClientError>>>,
    replied: Option<oneshot::Sender<Result<Reply, ClientError>>>,
}

struct Command {
    send: Send,
    waiting: Waiting,
}

/// A message on its way: its confirm, and its reply where one was asked for.
pub(super) struct Sent {
    confirmed: oneshot::Receiver<Result<(), ClientError>>,
    replied: oneshot::Receiver<Result<Reply, ClientError>>,
    status: watch::Receiver<Status>,
}

/// How the connection is.
#[derive(Clone, Debug)]
enum Status {
    /// For the first time, to these addresses.
    Connecting(String),
    Connected,
    Down(BrokerError),
}

/// A connection to a streamwatch installation.
///
/// Cloning it is cheap, and shares it. It connects in the background, comes back after a loss with
/// back-off and jitter, and closes when the last clone is gone.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    names: Arc<Names>,
}

impl Client {
    /// A client of the installation `names` on the RabbitMQ at `addresses`. Returns at once;
    /// must be called within a tokio runtime.
    #[must_use]
    pub fn connect(addresses: Addresses, names: Names) -> Self {
        let (commands, received) = mpsc::channel(MOST_WAITING);
        let (report, status) = watch::channel(Status::Connecting(addresses.to_string()));
        let names = Arc::new(names);
        tokio::spawn(run(addresses, Arc::clone(&names), received, report));
        Self {
            commands,
            status,
            names,
        }
    }

    /// What everything is called.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The broker can be reached.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(*self.status.borrow(), Status::Connected)
    }

    /// Waits until the broker can be reached.
    pub async fn connected(&self) {
        let mut status = self.status.clone();
        let _ = status.wait_for(|s| matches!(s, Status::Connected)).await;
    }

    /// Hands a message over. Does not wait.
    pub(super) fn send(&self, send: Send, reply: bool) -> Result<Sent, ClientError> {
        let (confirm, confirmed) = oneshot::channel();
        let (answer, replied) = oneshot::channel();
        let waiting = Waiting {
            confirmed: Some(confirm),
            replied: reply.then_some(answer),
        };
        let command = Command { send, waiting };
        self.commands
            .try_send(command)
            .map_err(|_| ClientError::Busy)?;
        Ok(Sent {
            confirmed,
            replied,
            status: self.status.clone(),
        })
    }
}

impl Sent {
    /// Waits for the broker's confirm.
    pub(super) async fn confirm(&mut self, patience: Duration) -> Result<(), ClientError> {
        match timeout(patience, &mut self.confirmed).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(self.not_taken(patience)),
        }
    }

    /// Waits for the reply.
    pub(super) async fn reply(&mut self, patience: Duration) -> Result<Reply, ClientError> {
        let reply = match timeout(patience, &mut self.replied).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(_)) | Err(_) => return Err(self.no_reply(patience)),
        };
        match reply {
            Reply::Error(problem) => Err(ClientError::Refused(problem)),
            reply => Ok(reply),
        }
    }

    /// A confirmed request that nobody answers is the workers' silence; one that is not confirmed
    /// is the broker's.
    fn no_reply(&mut self, patience: Duration) -> ClientError {
        match self.confirmed.try_recv() {
            Ok(Ok(())) => ClientError::NoAnswer(patience),
            Ok(Err(error)) => error,
            Err(_) => self.not_taken(patience),
        }
    }

    fn not_taken(&self, waited: Duration) -> ClientError {
        match &*self.status.borrow() {
            Status::Connected => ClientError::NotTaken(waited),
            Status::Down(error) => ClientError::Broker(error.clone()),
            Status::Connecting(address) => ClientError::Broker(BrokerError::Unreachable {
                address: address.clone(),
                reason: format!("no connection within {waited:?}"),
            }),
        }
    }
}

/// Connects, serves, and starts again, until every handle is gone.
async fn run(
    addresses: Addresses,
    names: Arc<Names>,
    mut commands: mpsc::Receiver<Command>,
    report: watch::Sender<Status>,
) {
    let mut waits = backoff();
    let mut number = 0;
    for n in 0.. {
        let began = Instant::now();
        let lost = match Link::open(&addresses, n, "streamwatch client").await {
            Ok(link) => {
                let lost = serve(&link, &names, &mut commands, &report, &mut number).await;
                if lost.is_none() {
                    return link.close().await;
                }
                lost
            }
            Err(error) => Some(error),
        };
        let Some(error) = lost else { return };
        // A missing exchange takes the channel with it, not the way to the broker.
        if !matches!(error, BrokerError::NotFound(_)) {
            tracing::debug!(%error, "the client's connection is lost");
            let _ = report.send(Status::Down(error));
        }
        if began.elapsed() > STEADY {
            waits = backoff();
        }
        let wait = waits.next().unwrap_or(Duration::from_secs(5));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = report.closed() => return,
        }
    }
}

/// Serves commands on one connection. `None` where every handle is gone.
async fn serve(
    link: &Link,
    names: &Names,
    commands: &mut mpsc::Receiver<Command>,
    report: &watch::Sender<Status>,
    number: &mut u64,
) -> Option<BrokerError> {
    let mut channels = match Channels::open(link, names).await {
        Ok(channels) => channels,
        Err(error) => return Some(error),
    };
    let _ = report.send(Status::Connected);
    let mut waiting: HashMap<u64, (Kind, Waiting)> = HashMap::new();
    let mut refusals = Refusals::default();
    let mut unconfirmed = UnconfirmedEvents::default();
    let error = loop {
        // Whoever stopped waiting is forgotten, once there are many.
        if waiting.len() >= MOST_WAITING {
            waiting.retain(|_, (_, w)| !w.is_over());
        }
        let full = waiting.len() >= MOST_WAITING;
        tokio::select! {
            // Nothing here says when somebody stops waiting.
            () = tokio::time::sleep(PURGE_EVERY), if full => {}
            command = commands.recv(), if !full => {
                let command = command?;
                if command.waiting.is_over() {
                    continue;
                }
                *number += 1;
                let kind = command.send.kind;
                let reply = command.waiting.replied.is_some();
                unconfirmed.sent(*number, kind);
                channels.of(kind).publish(outgoing(*number, command.send, reply));
                waiting.insert(*number, (kind, command.waiting));
            }
            event = channels.next() => match event {
                Ok(RpcEvent::Published(number, _)) if !unconfirmed.settled(number) => {
                    let lost = "a log was without its leader".to_owned();
                    let fate = ClientError::Broker(BrokerError::Lost(lost));
                    let events = waiting.extract_if(|_, (kind, _)| is_event(*kind));
                    events.for_each(|(_, (_, one))| one.failed(&fate));
                    if let Err(error) = channels.renew_events(link, names).await {
                        break error;
                    }
                }
                Ok(RpcEvent::Published(number, published)) => {
                    let Some((kind, mut one)) = waiting.remove(&number) else {
                        continue;
                    };
                    if one.published(published) {
                        waiting.insert(number, (kind, one));
                    }
                    if refusals.are_for_ever(kind, published) {
                        let refused = "the broker refuses everything on this channel".to_owned();
                        break BrokerError::Lost(refused);
                    }
                }
                Ok(RpcEvent::Reply(number, body)) => {
                    if let Some((_, one)) = waiting.remove(&number) {
                        one.answered(&body);
                    }
                }
                Err(error) => break error,
            },
        }
    };
    let fate = match &error {
        BrokerError::NotFound(_) => ClientError::NoTopology,
        other => ClientError::Broker(other.clone()),
    };
    for (_, one) in waiting.into_values() {
        one.failed(&fate);
    }
    Some(error)
}

fn outgoing(number: u64, send: Send, reply: bool) -> Outgoing {
    Outgoing {
        number,
        routing_key: RoutingKey::of_tenant(&send.tenant, send.kind),
        account: send.account.as_str().to_owned(),
        message_id: send.message_id,
        reply,
        body: send.body,
    }
}

impl Waiting {
    /// Nobody waits any more.
    fn is_over(&self) -> bool {
        let gone = |closed: Option<bool>| closed.unwrap_or(true);
        gone(self.confirmed.as_ref().map(oneshot::Sender::is_closed))
            && gone(self.replied.as_ref().map(oneshot::Sender::is_closed))
    }

    /// Returns whether a reply is still to come.
    fn published(&mut self, published: Published) -> bool {
        let fate = match published {
            Published::Confirmed => Ok(()),
            Published::Unroutable => Err(ClientError::NoTopology),
            Published::Refused => Err(ClientError::Busy),
        };
        if let Err(error) = &fate
            && let Some(replied) = self.replied.take()
        {
            let _ = replied.send(Err(error.clone()));
        }
        if let Some(confirmed) = self.confirmed.take() {
            let _ = confirmed.send(fate);
        }
        self.replied.is_some()
    }

    fn answered(self, body: &[u8]) {
        if let Some(confirmed) = self.confirmed {
            let _ = confirmed.send(Ok(()));
        }
        if let Some(replied) = self.replied {
            let reply = wire::decode_reply(body).map_err(|e| ClientError::BadReply(e.to_string()));
            let _ = replied.send(reply);
        }
    }

    fn failed(self, fate: &ClientError) {
        if let Some(confirmed) = self.confirmed {
            let _ = confirmed.send(Err(fate.clone()));
        }
        if let Some(replied) = self.replied {
            let _ = replied.send(Err(fate.clone()));
        }
    }
}
