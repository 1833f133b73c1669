//! One connection for any number of players and backends, with automatic reconnects.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use super::{
    ClientError,
    budget::{Budget, Reserved},
    channels::{Channels, Refusals, is_event},
    sent::{ConnectionStatus, Sent, SentToEach, Waiting},
};
use crate::{
    broker::{Addresses, Backoff, BrokerError, Connection, Names, Outgoing, RpcEvent},
    wire::Kind,
};

/// Most messages in transit.
const MOST_WAITING: usize = 10_000;
/// Interval of checks for an alarm, for overdue confirms, and for senders that have timed out.
const CHECK_EVERY: Duration = Duration::from_millis(100);

struct Command {
    message: Outgoing,
    waiting: Waiting,
    reserved: Reserved,
}

/// A connection to a streamwatch installation.
///
/// It connects in the background, reconnects with back-off and jitter, and closes when the last
/// clone is dropped. Clones are cheap, and share one connection.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    budget: Budget,
    status: watch::Receiver<ConnectionStatus>,
    names: Arc<Names>,
}

impl Client {
    /// Creates a client of the installation `names` on the broker at `addresses`. Returns at once.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    #[must_use]
    pub fn connect(addresses: Addresses, names: Names) -> Self {
        // Bounded by the budget: each command holds a part of it.
        let (commands, received) = mpsc::unbounded_channel();
        let (report, status) = watch::channel(ConnectionStatus::Connecting(addresses.to_string()));
        let names = Arc::new(names);
        tokio::spawn(run(addresses, Arc::clone(&names), received, report));
        Self {
            commands,
            budget: Budget::new(),
            status,
            names,
        }
    }

    /// The names of exchanges and queues.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Returns whether the connection is open and not blocked.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(*self.status.borrow(), ConnectionStatus::Connected)
    }

    /// The error of the last attempt to connect, if there is no connection.
    #[must_use]
    pub fn failure(&self) -> Option<BrokerError> {
        match &*self.status.borrow() {
            ConnectionStatus::Down(error) => Some(error.clone()),
            ConnectionStatus::Connecting(_)
            | ConnectionStatus::Connected
            | ConnectionStatus::Blocked => None,
        }
    }

    /// Waits until the connection is open and not blocked.
    pub async fn connected(&self) {
        let mut status = self.status.clone();
        let _ = status
            .wait_for(|s| matches!(s, ConnectionStatus::Connected))
            .await;
    }

    /// Sends a message as soon as the connection is not blocked and the budget for unconfirmed
    /// messages allows. A message that has waited for `patience`, or whose future is dropped, is
    /// not sent.
    pub(super) async fn send(
        &self,
        message: Outgoing,
        reply: bool,
        patience: Duration,
    ) -> Result<Sent, ClientError> {
        self.send_since(Instant::now(), message, reply, patience)
            .await
    }

    /// Sends a request that each partition answers, as [`Self::send`] does.
    pub(super) async fn send_to_each(
        &self,
        message: Outgoing,
        patience: Duration,
    ) -> Result<SentToEach, ClientError> {
        let began = Instant::now();
        let (waiting, sent) = SentToEach::new(self.status.clone(), began, patience);
        self.hand_over(began, message, waiting, patience).await?;
        Ok(sent)
    }

    /// Sends a message as [`Self::send`] does. It has waited since `began`.
    pub(super) async fn send_since(
        &self,
        began: Instant,
        message: Outgoing,
        reply: bool,
        patience: Duration,
    ) -> Result<Sent, ClientError> {
        let (waiting, sent) = Sent::new(reply, self.status.clone(), began, patience);
        self.hand_over(began, message, waiting, patience).await?;
        Ok(sent)
    }

    /// Hands a message over to the connection when it may be sent.
    async fn hand_over(
        &self,
        began: Instant,
        message: Outgoing,
        waiting: Waiting,
        patience: Duration,
    ) -> Result<(), ClientError> {
        let bytes = message.body.len();
        let waits = self.budget.to_wait(bytes).ok_or(ClientError::Backlog)?;
        let reserved = timeout_at(began + patience, self.reserve(bytes)).await;
        let reserved = reserved.map_err(|_| self.not_sent(patience))?;
        drop(waits);
        // The receiver exists as long as this handle.
        let _ = self.commands.send(Command {
            message,
            waiting,
            reserved,
        });
        Ok(())
    }

    pub(super) fn not_sent(&self, waited: Duration) -> ClientError {
        self.status.borrow().not_sent(waited)
    }

    /// Waits until a message with a body of `bytes` may be published.
    async fn reserve(&self, bytes: usize) -> Reserved {
        loop {
            self.connected().await;
            if let Some(reserved) = self.budget.to_send(bytes).await
                && self.is_connected()
            {
                return reserved;
            }
        }
    }
}

/// Connects, and serves commands, until every handle is dropped.
async fn run(
    addresses: Addresses,
    names: Arc<Names>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    report: watch::Sender<ConnectionStatus>,
) {
    let mut backoff = Backoff::over(&addresses);
    let mut number = 0;
    for n in 0.. {
        let error = match Connection::open(&addresses, n, "streamwatch client").await {
            Ok(connection) => {
                match serve(&connection, &names, &mut commands, &report, &mut number).await {
                    Some(error) => error,
                    None => return connection.close().await,
                }
            }
            Err(error) => error,
        };
        // A missing exchange closes the channel, but the broker is reachable.
        if !matches!(error, BrokerError::NotFound(_)) {
            tracing::debug!(%error, "the client has lost its connection; it reconnects");
            let _ = report.send(ConnectionStatus::Down(error));
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.wait()) => {}
            () = report.closed() => return,
        }
    }
}

/// Serves commands on one connection. Returns its error, or `None` once every handle is dropped.
async fn serve(
    connection: &Connection,
    names: &Names,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    report: &watch::Sender<ConnectionStatus>,
    number: &mut u64,
) -> Option<BrokerError> {
    let mut channels = match Channels::open(connection, names).await {
        Ok(channels) => channels,
        Err(error) => return Some(error),
    };
    let _ = report.send(ConnectionStatus::Connected);
    let mut waiting: HashMap<u64, (Kind, Waiting)> = HashMap::new();
    let mut refusals = Refusals::default();
    let mut check = interval(CHECK_EVERY);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unblocked = Instant::now();
    // Not sent while the connection is blocked, since lapin would buffer it.
    let mut next: Option<Command> = None;
    let error = loop {
        let blocked = connection.is_blocked();
        if let Some(command) = next.take_if(|next| !blocked || next.waiting.is_abandoned())
            && !command.waiting.is_abandoned()
        {
            *number += 1;
            let kind = command.message.kind;
            let reply = command.waiting.replied.is_some();
            channels.publish(*number, command.message, reply, command.reserved);
            waiting.insert(*number, (kind, command.waiting));
        }
        let takes = next.is_none() && waiting.len() < MOST_WAITING;
        tokio::select! {
            _ = check.tick() => {
                if waiting.len() >= MOST_WAITING {
                    waiting.retain(|_, (_, w)| !w.is_abandoned());
                }
                report_blocked(report, blocked);
                if blocked {
                    unblocked = Instant::now();
                    continue;
                }
                let waits = |number| waiting.get(&number).is_some_and(|(_, w)| !w.is_abandoned());
                if let Some(kind) = channels.unconfirmed.overdue(unblocked, waits) {
                    let late = "a confirm was overdue; the channel was closed".to_owned();
                    fail(&mut waiting, kind, &ClientError::Broker(BrokerError::Lost(late)));
                    if let Err(error) = channels.renew(kind, connection, names).await {
                        break error;
                    }
                }
            }
            command = commands.recv(), if takes => next = Some(command?),
            event = channels.next() => match event {
                Ok(RpcEvent::Published(number, _)) if !channels.unconfirmed.settled(number) => {
                    let lost = "a log had no leader".to_owned();
                    let error = ClientError::Broker(BrokerError::Lost(lost));
                    fail(&mut waiting, Kind::Heartbeat, &error);
                    if let Err(error) = channels.renew(Kind::Heartbeat, connection, names).await {
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
                    if refusals.are_permanent(kind, published) {
                        let refused = "the broker rejects every message of this channel".to_owned();
                        break BrokerError::Lost(refused);
                    }
                }
                Ok(RpcEvent::Reply(number, body)) => {
                    if let Some((kind, mut one)) = waiting.remove(&number)
                        && one.answered(&body)
                    {
                        waiting.insert(number, (kind, one));
                    }
                }
                Err(error) => break error,
            },
        }
    };
    let reported = match &error {
        BrokerError::NotFound(_) => ClientError::NoTopology,
        other => ClientError::Broker(other.clone()),
    };
    for (_, one) in waiting.into_values() {
        one.failed(&reported);
    }
    Some(error)
}

fn report_blocked(report: &watch::Sender<ConnectionStatus>, blocked: bool) {
    report.send_if_modified(|status| {
        let reported = matches!(status, ConnectionStatus::Blocked);
        if reported != blocked {
            *status = if blocked {
                ConnectionStatus::Blocked
            } else {
                ConnectionStatus::Connected
            };
        }
        reported != blocked
    });
}

/// Fails the pending messages on the channel of `kind`.
fn fail(waiting: &mut HashMap<u64, (Kind, Waiting)>, kind: Kind, error: &ClientError) {
    let failed = waiting.extract_if(|_, (other, _)| is_event(*other) == is_event(kind));
    failed.for_each(|(_, (_, one))| one.failed(error));
}
