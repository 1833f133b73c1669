//! A subscription to an exchange, with automatic reconnects.

use std::time::Duration;

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
};

use crate::{
    broker::{Addresses, Backoff, BrokerError, Connection, Names, Subscribed, Subscription},
    domain::Tenant,
};

/// Interval of checks of the exchange, as its deletion sends no notification.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Most buffered messages. Others wait in the queue, which is bounded too.
const MOST_WAITING: usize = 1_000;

/// The exchange to follow.
pub(super) struct Follow {
    /// Name of the connection in RabbitMQ.
    name: String,
    pub(super) exchange: String,
    pub(super) key: String,
    /// Prefix of the name of its queue.
    prefix: String,
}

/// A message or a change of the subscription.
pub(super) enum Update {
    /// The subscription is active. `again` after a loss, when messages may have been missed.
    Listening {
        again: bool,
    },
    Subscribed(Subscribed),
    /// The subscription was lost; another try follows.
    Lost(BrokerError),
}

/// Ends with [`Following::end`], or when it is dropped.
pub(super) struct Following {
    updates: Receiver<Update>,
    task: JoinHandle<()>,
}

impl Following {
    /// Returns the next message; `None` only after a panic. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// Closes the connection.
    pub(super) async fn end(self) {
        drop(self.updates);
        if let Err(error) = self.task.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Follow {
    /// Follows the messages of one tenant or of all, for a command.
    pub(super) fn new(
        command: &str,
        exchange: String,
        names: &Names,
        tenant: Option<&Tenant>,
    ) -> Self {
        Self {
            name: format!("streamwatch {command}"),
            exchange,
            key: tenant.map_or_else(|| "#".to_owned(), |tenant| format!("{tenant}.*")),
            prefix: format!("{}{command}-", names.subscriptions(tenant)),
        }
    }

    /// Connects, and reconnects after each loss, until the subscription is dropped.
    pub(super) fn start(self, addresses: Addresses) -> Following {
        let (sender, updates) = mpsc::channel(MOST_WAITING);
        let task = tokio::spawn(async move { self.run(&addresses, &sender).await });
        Following { updates, task }
    }

    async fn run(&self, addresses: &Addresses, sender: &Sender<Update>) {
        let mut backoff = Backoff::over(addresses);
        let mut again = false;
        for n in 0.. {
            let opened = tokio::select! {
                opened = self.open(addresses, again.then_some(n)) => opened,
                () = sender.closed() => return,
            };
            let lost = match opened {
                Ok((connection, mut listener)) => {
                    let listening = sender.send(Update::Listening { again }).await;
                    again = true;
                    let lost = match listening {
                        Ok(()) => listen(&mut listener, sender).await,
                        Err(_) => None,
                    };
                    connection.close().await;
                    lost
                }
                Err(error) => Some(error),
            };
            let Some(error) = lost else { return };
            if sender.send(Update::Lost(error)).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.wait()) => {}
                () = sender.closed() => return,
            }
        }
    }

    /// Connects, at first to any address, later to the next one.
    async fn open(
        &self,
        addresses: &Addresses,
        turn: Option<usize>,
    ) -> Result<(Connection, Subscription), BrokerError> {
        let connection = match turn {
            Some(n) => Connection::open(addresses, n, &self.name).await?,
            None => Connection::open_any(addresses, &self.name).await?,
        };
        let listener =
            Subscription::open(&connection, &self.exchange, &self.key, &self.prefix).await?;
        Ok((connection, listener))
    }
}

/// Consumes until the connection is lost. Returns `None` if the subscription was dropped.
async fn listen(listener: &mut Subscription, sender: &Sender<Update>) -> Option<BrokerError> {
    let mut check = tokio::time::interval(CHECK_EVERY);
    loop {
        let received = tokio::select! {
            received = listener.next() => received,
            _ = check.tick() => match listener.check().await {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            () = sender.closed() => return None,
        };
        match received {
            Ok(received) => sender.send(Update::Subscribed(received)).await.ok()?,
            Err(error) => return Some(error),
        }
    }
}
