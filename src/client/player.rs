//! What a player links: it opens a stream, keeps it counted, and ends it. It never blocks playback.

use std::time::Duration;

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use uuid::Uuid;

use super::{Backend, Client, ClientError, OpenRequest, Opening, PATIENCE};
use crate::broker::backoff;
use crate::domain::{
    AccountId, Activity, Metadata, RefusedReason, StoppedReason, StreamId, Tenant,
};

/// How often heartbeats go out while no worker has said how often.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// How long a stop is tried: silence ends the stream as well, only later.
const STOP_FOR: Duration = Duration::from_secs(30);

/// What is known of a playback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaybackState {
    /// No worker has answered yet. Play: the heartbeats count.
    Unanswered,
    /// It counts.
    Opened(Activity),
    /// It does not count, because of a limit. Whether to play is for the application to decide.
    Refused {
        /// Why.
        reason: RefusedReason,
        /// What the account is playing instead.
        activity: Activity,
    },
    /// Somebody ended it: by a stop, or by opening another stream in its place.
    Stopped(StoppedReason),
}

/// Plays streams of one tenant. One [`Client`] carries any number of players.
///
/// ```no_run
#[doc = include_str!("../../tests/clients/rust/player.rs")]
/// ```
#[derive(Clone)]
pub struct Player {
    client: Client,
    tenant: Tenant,
}

impl Player {
    /// A player of `tenant`.
    #[must_use]
    pub const fn new(client: Client, tenant: Tenant) -> Self {
        Self { client, tenant }
    }

    /// Opens a stream for `account`, and waits 2 s for the answer. Whatever comes of it, the
    /// playback is there: where no worker answers, its heartbeats count, and the request is
    /// repeated, with the same id, until one does.
    pub async fn open(&self, account: AccountId, request: OpenRequest) -> Playback {
        let stream = request.stream.unwrap_or_else(StreamId::generate);
        let (report, state) = watch::channel(PlaybackState::Unanswered);
        let (end, ended) = oneshot::channel();
        let keeper = Keeper {
            backend: Backend::new(self.client.clone()),
            client: self.client.clone(),
            tenant: self.tenant.clone(),
            account,
            stream,
            request,
            id: Uuid::new_v4(),
            every: HEARTBEAT_EVERY,
            report,
        };
        tokio::spawn(keeper.run(ended));
        let mut playback = Playback {
            stream,
            state,
            end: Some(end),
        };
        let _ = timeout(PATIENCE, playback.state.changed()).await;
        playback
    }
}

/// How a playback ends.
enum End {
    /// With a stop; tells when the broker has it.
    Stop(oneshot::Sender<()>),
    /// Without.
    Abandon,
}

/// A stream that is being played. Dropping it stops it.
pub struct Playback {
    stream: StreamId,
    state: watch::Receiver<PlaybackState>,
    end: Option<oneshot::Sender<End>>,
}

impl Playback {
    /// Its id.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// What is known of it.
    #[must_use]
    pub fn state(&self) -> PlaybackState {
        self.state.borrow().clone()
    }

    /// Waits until something else is known of it: `false` where nothing more will be.
    pub async fn changed(&mut self) -> bool {
        self.state.changed().await.is_ok()
    }

    /// Stops it, and returns once the broker has the stop, or after 30 s: then silence ends it.
    pub async fn stop(mut self) {
        if let Some(end) = self.end.take() {
            let (done, is_done) = oneshot::channel();
            if end.send(End::Stop(done)).is_ok() {
                let _ = is_done.await;
            }
        }
    }

    /// Ends its heartbeats without a stop, as a device does that loses its power. It counts until
    /// its TTL is over.
    pub fn abandon(mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(End::Abandon);
        }
    }
}

/// Keeps one stream counted.
struct Keeper {
    backend: Backend,
    client: Client,
    tenant: Tenant,
    account: AccountId,
    stream: StreamId,
    request: OpenRequest,
    id: Uuid,
    every: Duration,
    report: watch::Sender<PlaybackState>,
}

impl Keeper {
    async fn run(mut self, mut ended: oneshot::Receiver<End>) {
        let over = tokio::select! {
            over = self.play() => over,
            end = &mut ended => return self.end(end).await,
        };
        // Refused or stopped: there is nothing to end, but whoever stops it is answered.
        let _ = self.report.send(over);
        if let Ok(End::Stop(done)) = ended.await {
            let _ = done.send(());
        }
    }

    /// Plays until somebody says that the stream does not count.
    async fn play(&mut self) -> PlaybackState {
        let mut tries = backoff();
        match self.open().await {
            Ok(Some(refused)) => return refused,
            Ok(None) => {}
            Err(_) => {
                // Play first, count anyway: a heartbeat counts where the request was lost.
                if let Some(over) = self.unanswered(&mut tries).await {
                    return over;
                }
            }
        }
        self.beat().await
    }

    /// One try to open: `Some` where it is refused.
    async fn open(&mut self) -> Result<Option<PlaybackState>, ClientError> {
        let opening = self.backend.open_once(
            &self.tenant,
            &self.account,
            self.stream,
            &self.request,
            self.id,
        );
        match opening.await? {
            Opening::Opened {
                heartbeat_every,
                activity,
                ..
            } => {
                self.every = heartbeat_every;
                let _ = self.report.send(PlaybackState::Opened(activity));
                Ok(None)
            }
            Opening::Refused {
                reason, activity, ..
            } => Ok(Some(PlaybackState::Refused { reason, activity })),
        }
    }

    /// Sends heartbeats, and repeats the request until it is answered.
    async fn unanswered(
        &mut self,
        tries: &mut (impl Iterator<Item = Duration> + Send),
    ) -> Option<PlaybackState> {
        let mut next_beat = Instant::now();
        loop {
            if Instant::now() >= next_beat {
                next_beat = Instant::now() + self.every;
                let metadata = self.request.metadata.clone();
                if let Some(reason) = self.heartbeat(Some(&metadata)).await {
                    return Some(PlaybackState::Stopped(reason));
                }
            }
            tokio::time::sleep(tries.next().unwrap_or(PATIENCE)).await;
            match self.open().await {
                Ok(over) => return over,
                // What is wrong with it stays wrong: the heartbeats have to do.
                Err(error) if !error.is_retryable() => return None,
                Err(_) => {}
            }
        }
    }

    /// Heartbeats on a timer that fires late, not often, after the device slept.
    async fn beat(&mut self) -> PlaybackState {
        let mut timer = interval_at(Instant::now() + self.every, self.every);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            if !self.client.is_connected() {
                self.client.connected().await;
                // Whoever lost the broker at one moment comes back over one interval.
                let spread = self.every.mul_f64(fraction());
                tokio::time::sleep(spread).await;
            }
            if let Some(reason) = self.heartbeat(None).await {
                return PlaybackState::Stopped(reason);
            }
        }
    }

    /// One heartbeat; `Some` where the stream was ended. The answer is waited for until the next.
    async fn heartbeat(&self, metadata: Option<&Metadata>) -> Option<StoppedReason> {
        let bad_news = (self.every / 2).min(PATIENCE);
        let metadata = metadata.filter(|m| !m.is_empty());
        self.backend
            .heartbeat(&self.tenant, &self.account, self.stream, metadata, bad_news)
            .await
            .unwrap_or_default()
    }

    async fn end(self, end: Result<End, oneshot::error::RecvError>) {
        let done = match end {
            Ok(End::Abandon) => return,
            Ok(End::Stop(done)) => Some(done),
            Err(_) => None, // dropped
        };
        let mut tries = backoff();
        let stopping = async {
            while self
                .backend
                .stop(&self.tenant, &self.account, self.stream)
                .await
                .is_err()
            {
                tokio::time::sleep(tries.next().unwrap_or(PATIENCE)).await;
            }
        };
        let _ = timeout(STOP_FOR, stopping).await;
        if let Some(done) = done {
            let _ = done.send(());
        }
    }
}

/// A random number from 0 to 1.
fn fraction() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
