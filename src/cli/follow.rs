//! A subscription to an exchange that reconnects by itself.

use std::time::Duration;

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
};

use crate::broker::{Addresses, Backoff, BrokerError, Link, Subscribed, Subscription};

/// Interval of checks of the exchange, as its deletion sends no notification.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Most buffered messages. Others wait in the queue, which is bounded too.
const MOST_WAITING: usize = 1_000;

/// The exchange to follow.
pub(super) struct Follow {
    /// Name of the connection in RabbitMQ.
    pub(super) name: &'static str,
    pub(super) exchange: String,
    pub(super) key: String,
    /// Prefix of the name of its queue.
    pub(super) prefix: String,
}

/// A message or a change of the subscription.
pub(super) enum News {
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
    news: Receiver<News>,
    task: JoinHandle<()>,
}

impl Following {
    /// Returns the next message; `None` only after a panic. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Closes the connection.
    pub(super) async fn end(self) {
        drop(self.news);
        if let Err(error) = self.task.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Follow {
    /// Connects, and reconnects after each loss, until the subscription is dropped.
    pub(super) fn start(self, addresses: Addresses) -> Following {
        let (tell, news) = mpsc::channel(MOST_WAITING);
        let task = tokio::spawn(async move { self.run(&addresses, &tell).await });
        Following { news, task }
    }

    async fn run(&self, addresses: &Addresses, tell: &Sender<News>) {
        let mut backoff = Backoff::default();
        let mut again = false;
        for n in 0.. {
            let opened = tokio::select! {
                opened = self.open(addresses, again.then_some(n)) => opened,
                () = tell.closed() => return,
            };
            let lost = match opened {
                Ok((link, mut listener)) => {
                    let listening = tell.send(News::Listening { again }).await;
                    again = true;
                    let lost = match listening {
                        Ok(()) => listen(&mut listener, tell).await,
                        Err(_) => None,
                    };
                    link.close().await;
                    lost
                }
                Err(error) => Some(error),
            };
            let Some(error) = lost else { return };
            if tell.send(News::Lost(error)).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.wait()) => {}
                () = tell.closed() => return,
            }
        }
    }

    /// Connects, at first to any address, later to the next one.
    async fn open(
        &self,
        addresses: &Addresses,
        turn: Option<usize>,
    ) -> Result<(Link, Subscription), BrokerError> {
        let link = match turn {
            Some(n) => Link::open(addresses, n, self.name).await?,
            None => Link::open_any(addresses, self.name).await?,
        };
        let listener = Subscription::open(&link, &self.exchange, &self.key, &self.prefix).await?;
        Ok((link, listener))
    }
}

/// Consumes until the connection is lost. Returns `None` if the subscription was dropped.
async fn listen(listener: &mut Subscription, tell: &Sender<News>) -> Option<BrokerError> {
    let mut check = tokio::time::interval(CHECK_EVERY);
    loop {
        let heard = tokio::select! {
            heard = listener.next() => heard,
            _ = check.tick() => match listener.check().await {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            () = tell.closed() => return None,
        };
        match heard {
            Ok(heard) => tell.send(News::Subscribed(heard)).await.ok()?,
            Err(error) => return Some(error),
        }
    }
}
