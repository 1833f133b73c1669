//! Viewers with real timing, which record the confirms of their events.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use streamwatch::client::{
    AccountId, Backend, BadNews, BatchEvent, Client, ClientError, Heartbeat, OpenRequest, Opening,
    PartitionNumber, PlayerEvent, Stop, StreamId,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::broker::fixture::{account, tenant};
use super::ledger::Ledger;

/// Viewers per connection.
const PER_CONNECTION: usize = 500;
/// Devices of one account.
pub const DEVICES: usize = 3;
/// Every fourth account has this limit. Its devices play only after an `init` was opened.
const LIMITED_EVERY: usize = 4;
const MAX_ACTIVE: u32 = 2;
/// Average duration of a session.
const SESSION: Duration = Duration::from_secs(45);
/// Share of sessions that end without a stop.
const CRASHES: f64 = 0.2;
/// Share of stops that are followed by a late heartbeat.
const STRAYS: f64 = 0.2;
/// Every third viewer publishes its events in batches, once a reply has stated its partition.
const BATCHES_EVERY: usize = 3;
/// Wait for a reply to a heartbeat.
const BAD_NEWS: Duration = Duration::from_millis(100);
/// First and last wait between attempts of a request, without jitter.
const WAITS: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(4)];

/// Counts of messages and outcomes.
#[derive(Debug, Default)]
pub struct Tally {
    pub published: AtomicU64,
    pub confirmed: AtomicU64,
    /// Confirmed batches.
    pub batches: AtomicU64,
    pub requests: AtomicU64,
    pub retries: AtomicU64,
    pub opened: AtomicU64,
    pub refused: AtomicU64,
    pub stopped: AtomicU64,
    pub crashed: AtomicU64,
    /// Impossible replies to viewers.
    pub wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.push(what);
    }
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

pub struct Viewers {
    pub ledger: Arc<Ledger>,
    pub tally: Arc<Tally>,
    settle: watch::Sender<bool>,
    viewers: JoinSet<()>,
}

/// The name of the account number `n`.
pub fn name(n: usize) -> String {
    format!("viewer-{n:04}")
}

impl Viewers {
    /// Starts viewers one after another, within one heartbeat interval. `connect` opens the n-th
    /// connection.
    pub fn start(
        number: usize,
        seed: u64,
        ledger: &Arc<Ledger>,
        mut connect: impl FnMut(usize) -> Client,
    ) -> Self {
        let connections = number.div_ceil(PER_CONNECTION);
        let clients: Vec<_> = (0..connections).map(&mut connect).collect();
        let accounts = number.div_ceil(DEVICES);
        let tally = Arc::new(Tally::default());
        let (settle, settled) = watch::channel(false);
        let mut viewers = JoinSet::new();
        for n in 0..number {
            let account = n % accounts;
            let limit = account.is_multiple_of(LIMITED_EVERY).then_some(MAX_ACTIVE);
            ledger.account(&name(account), limit);
            let viewer = Viewer {
                backend: Backend::new(clients[n % clients.len()].clone()),
                ledger: Arc::clone(ledger),
                tally: Arc::clone(&tally),
                batches: n.is_multiple_of(BATCHES_EVERY),
                partition: None,
                name: name(account),
                limit,
                every: Duration::from_secs(8),
                random: Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(n as u64)),
                settled: settled.clone(),
            };
            viewers.spawn(viewer.run());
        }
        Self {
            ledger: Arc::clone(ledger),
            tally,
            settle,
            viewers,
        }
    }

    /// Freezes the viewers; active ones play on.
    pub fn settle(&self) {
        self.settle.send_replace(true);
    }

    /// A receiver that is true once they are frozen.
    pub fn settled(&self) -> watch::Receiver<bool> {
        self.settle.subscribe()
    }

    /// Aborts all viewers; returns the panic of one, if any.
    pub async fn leave(&mut self) -> Option<String> {
        self.viewers.abort_all();
        let mut broke = None;
        while let Some(ended) = self.viewers.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                broke = Some(error.to_string());
            }
        }
        broke
    }
}

struct Viewer {
    backend: Backend,
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
    batches: bool,
    partition: Option<PartitionNumber>,
    name: String,
    limit: Option<u32>,
    every: Duration,
    random: Rng,
    settled: watch::Receiver<bool>,
}

impl Viewer {
    async fn run(mut self) {
        let begin = self.every.mul_f64(self.random.f64());
        self.pause(begin).await;
        while !*self.settled.borrow() {
            let length = SESSION.mul_f64(0.4 + 1.2 * self.random.f64());
            let crashes = self.random.f64() < CRASHES;
            let rest = Duration::from_secs(6).mul_f64(self.random.f64());
            self.session(Instant::now() + length, crashes).await;
            self.pause(rest).await;
        }
        std::future::pending::<()>().await;
    }

    /// Waits, or until the viewers are frozen. Returns false in the latter case.
    async fn pause(&mut self, length: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(length) => true,
            _ = self.settled.wait_for(|settled| *settled) => false,
        }
    }

    fn account(&self) -> AccountId {
        account(&self.name)
    }

    async fn session(&mut self, until: Instant, crashes: bool) {
        let stream = StreamId::generate();
        if !self.open(stream, until).await {
            return;
        }
        while Instant::now() < until || *self.settled.borrow() {
            // The previous heartbeat may delay it; it is never early.
            let next = self.every.min(until - Instant::now().min(until));
            if *self.settled.borrow() {
                tokio::time::sleep(self.every).await;
            } else if !self.pause(next).await || Instant::now() >= until {
                continue;
            }
            while !self.heartbeat(stream).await {
                // Spreads the heartbeats of all viewers over some time.
                let spread = self.every.mul_f64(0.3 * self.random.f64());
                tokio::time::sleep(spread).await;
            }
        }
        if crashes {
            self.ledger.ending(&self.name, stream);
            increment(&self.tally.crashed);
        } else {
            self.stop(stream).await;
        }
    }

    /// Repeats the `init`, with one stream id, until it is answered. Plays meanwhile if the account
    /// has no limit. Returns whether it plays.
    async fn open(&mut self, stream: StreamId, until: Instant) -> bool {
        let request = OpenRequest {
            stream: Some(stream),
            max_active: self.limit,
            ..OpenRequest::default()
        };
        let mut wait = WAITS[0];
        let mut beat_at = Instant::now();
        loop {
            let sent = self.ledger.sending(&self.name, stream);
            increment(&self.tally.requests);
            match self
                .backend
                .open(&tenant(), &self.account(), &request)
                .await
            {
                Ok((
                    _,
                    Opening::Opened {
                        heartbeat_every,
                        activity,
                        partition,
                        ..
                    },
                )) => {
                    self.ledger.alive(&self.name, stream, sent, false);
                    increment(&self.tally.opened);
                    self.every = heartbeat_every;
                    self.partition = partition.filter(|_| self.batches);
                    let admitted = activity.streams.iter().filter(|s| s.admitted).count();
                    if self.limit.is_some_and(|max| admitted > max as usize) {
                        self.tally
                            .wrong(format!("{}: one of {admitted} opened", self.name));
                    }
                    return true;
                }
                Ok((_, Opening::Refused { refusal, .. })) => {
                    self.ledger.refused(&self.name, stream);
                    increment(&self.tally.refused);
                    if self.limit.is_none() {
                        self.tally
                            .wrong(format!("{}: refused, {refusal:?}", self.name));
                    }
                    return false;
                }
                Err(error) if !error.is_retryable() => {
                    self.ledger.unanswered(&self.name, stream, sent);
                    self.tally
                        .wrong(format!("{}: not opened: {error}", self.name));
                    self.stop(stream).await;
                    return false;
                }
                Err(_) => self.ledger.unanswered(&self.name, stream, sent),
            }
            increment(&self.tally.retries);
            if self.limit.is_none() && Instant::now() >= beat_at && self.heartbeat(stream).await {
                beat_at = Instant::now() + self.every;
            }
            if Instant::now() >= until {
                // A viewer that needs an answer gives up and sends a stop.
                self.stop(stream).await;
                return false;
            }
            tokio::time::sleep(wait.mul_f64(0.5 + self.random.f64())).await;
            wait = (wait * 2).min(WAITS[1]);
        }
    }

    /// Sends one heartbeat; returns whether it was confirmed.
    async fn heartbeat(&self, stream: StreamId) -> bool {
        let sent = self.ledger.sending(&self.name, stream);
        increment(&self.tally.published);
        match self.publish_heartbeat(stream).await {
            Ok(None) => {}
            Ok(Some(news)) => {
                self.tally
                    .wrong(format!("{}: {stream} plays, but got {news}", self.name));
            }
            Err(error) if error.is_retryable() => return false,
            Err(error) => {
                self.tally
                    .wrong(format!("{}: a heartbeat: {error}", self.name));
                return false;
            }
        }
        increment(&self.tally.confirmed);
        self.ledger.alive(&self.name, stream, sent, true);
        true
    }

    /// Publishes one heartbeat. Returns the reply, if it is bad news for an active stream.
    async fn publish_heartbeat(&self, stream: StreamId) -> Result<Option<String>, ClientError> {
        if let Some(partition) = self.partition {
            let events = [Heartbeat::of(stream).into()];
            let news = self.publish_batch(partition, &events).await?;
            let mut news = news.into_iter().map(|(_, news)| news);
            let bad = news.find(|news| !matches!(news, BadNews::Interval { .. }));
            return Ok(bad.map(|news| format!("{news:?}")));
        }
        let (tenant, account) = (tenant(), self.account());
        let heartbeat = self
            .backend
            .heartbeat(&tenant, &account, stream, None, BAD_NEWS);
        Ok(heartbeat.await?.map(|reason| format!("{reason:?}")))
    }

    async fn publish_stop(&self, stream: StreamId) -> Result<(), ClientError> {
        match self.partition {
            Some(partition) => {
                let events = [Heartbeat::of(stream).into(), Stop::of(stream).into()];
                self.publish_batch(partition, &events).await?;
                Ok(())
            }
            None => self.backend.stop(&tenant(), &self.account(), stream).await,
        }
    }

    async fn publish_batch(
        &self,
        partition: PartitionNumber,
        events: &[PlayerEvent],
    ) -> Result<Vec<(usize, BadNews)>, ClientError> {
        let account = self.account();
        let event = |event: &PlayerEvent| BatchEvent {
            account: account.clone(),
            event: event.clone(),
        };
        let events: Vec<_> = events.iter().map(event).collect();
        let tenant = tenant();
        let batch = self.backend.batch(&tenant, partition, &events, BAD_NEWS);
        let news = batch.await?;
        increment(&self.tally.batches);
        Ok(news)
    }

    /// Repeats the stop until it is confirmed.
    async fn stop(&mut self, stream: StreamId) {
        self.ledger.ending(&self.name, stream);
        loop {
            increment(&self.tally.published);
            if self.publish_stop(stream).await.is_ok() {
                increment(&self.tally.confirmed);
                increment(&self.tally.stopped);
                self.ledger.stopped(&self.name, stream);
                break;
            }
            tokio::time::sleep(WAITS[0].mul_f64(0.5 + self.random.f64())).await;
        }
        if self.random.f64() < STRAYS {
            // As if it had been in transit on another connection: it must not restart the stream.
            let (tenant, account) = (tenant(), self.account());
            let heartbeat = self
                .backend
                .heartbeat(&tenant, &account, stream, None, Duration::ZERO);
            let _ = heartbeat.await;
        }
    }
}
