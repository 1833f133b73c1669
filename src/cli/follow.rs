//! Following an exchange on a connection that comes back by itself.

use std::time::Duration;

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
    time::Instant,
};

use crate::broker::{Addresses, BrokerError, Heard, Link, Listener, backoff};

/// How often the exchange is looked at: one that is deleted says nothing.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// A connection that lasted so long ends the back-off.
const STEADY: Duration = Duration::from_secs(10);
/// Most news that wait for whoever follows. The others wait in RabbitMQ, which bounds them too.
const MOST_WAITING: usize = 1_000;

/// What is followed.
pub(super) struct Follow {
    /// What RabbitMQ shows of the connection.
    pub(super) name: &'static str,
    pub(super) exchange: String,
    pub(super) key: String,
    /// How the name of its queue begins.
    pub(super) prefix: String,
}

/// What whoever follows is told.
pub(super) enum News {
    /// The exchange is listened to. `again` after a loss: some messages may have been missed.
    Listening {
        again: bool,
    },
    Heard(Heard),
    /// It is not listened to; another try follows.
    Lost(BrokerError),
}

/// Ends with [`Following::end`], or when it is dropped.
pub(super) struct Following {
    news: Receiver<News>,
    task: JoinHandle<()>,
}

impl Following {
    /// The next of the news; `None` only after a panic. Dropping the future loses none.
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
    /// Connects, and again whenever the connection is lost, until nobody follows any more.
    pub(super) fn start(self, addresses: Addresses) -> Following {
        let (tell, news) = mpsc::channel(MOST_WAITING);
        let task = tokio::spawn(async move { self.run(&addresses, &tell).await });
        Following { news, task }
    }

    async fn run(&self, addresses: &Addresses, tell: &Sender<News>) {
        let mut waits = backoff();
        let mut again = false;
        for n in 0.. {
            let opened = tokio::select! {
                opened = self.open(addresses, again.then_some(n)) => opened,
                () = tell.closed() => return,
            };
            let began = Instant::now();
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
            if began.elapsed() > STEADY {
                waits = backoff();
            }
            let wait = waits.next().unwrap_or(Duration::from_secs(5));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = tell.closed() => return,
            }
        }
    }

    /// Connects: at first to any address, later to the one whose turn it is.
    async fn open(
        &self,
        addresses: &Addresses,
        turn: Option<usize>,
    ) -> Result<(Link, Listener), BrokerError> {
        let link = match turn {
            Some(n) => Link::open(addresses, n, self.name).await?,
            None => Link::open_any(addresses, self.name).await?,
        };
        let listener = Listener::open(&link, &self.exchange, &self.key, &self.prefix).await?;
        Ok((link, listener))
    }
}

/// Listens until the connection is lost, or, `None`, nobody follows any more.
async fn listen(listener: &mut Listener, tell: &Sender<News>) -> Option<BrokerError> {
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
            Ok(heard) => tell.send(News::Heard(heard)).await.ok()?,
            Err(error) => return Some(error),
        }
    }
}
