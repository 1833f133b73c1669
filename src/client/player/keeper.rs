//! Keeps one stream counted, from its first request to its stop.

use std::time::Duration;

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use uuid::Uuid;

use super::{End, PlaybackState, silence::Silence};
use crate::{
    broker::Backoff,
    client::{Backend, Client, ClientError, OpenRequest, Opening, PATIENCE, backend::News},
    domain::{AccountId, Metadata, StoppedReason, StreamId, Tenant},
};

/// Interval of heartbeats until the first reply.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// Time for which a stop is retried. Without it, the stream expires later.
const STOP_FOR: Duration = Duration::from_secs(30);

/// Keeps one stream counted.
pub(super) struct Keeper {
    backend: Backend,
    client: Client,
    tenant: Tenant,
    account: AccountId,
    stream: StreamId,
    request: OpenRequest,
    id: Uuid,
    every: Duration,
    /// The TTL of the last reply.
    ttl: Option<Duration>,
    /// Time since the last heartbeat that the broker confirmed.
    silence: Option<Silence>,
    report: watch::Sender<PlaybackState>,
}

impl Keeper {
    pub(super) fn new(
        client: Client,
        tenant: Tenant,
        account: AccountId,
        stream: StreamId,
        request: OpenRequest,
        report: watch::Sender<PlaybackState>,
    ) -> Self {
        Self {
            backend: Backend::new(client.clone()),
            client,
            tenant,
            account,
            stream,
            request,
            id: Uuid::new_v4(),
            every: HEARTBEAT_EVERY,
            ttl: None,
            silence: None,
            report,
        }
    }

    pub(super) async fn run(mut self, mut ended: oneshot::Receiver<End>) {
        let over = tokio::select! {
            over = self.play() => over,
            end = &mut ended => return self.end(end).await,
        };
        // Refused after its heartbeats have counted: what does not play does not count either.
        let counts = self.silence.is_some() && matches!(over, PlaybackState::Refused { .. });
        let _ = self.report.send(over);
        if counts {
            self.stop().await;
        }
        if let Ok(End::Stop(done)) = ended.await {
            let _ = done.send(());
        }
    }

    /// Plays until the stream is refused or stopped.
    async fn play(&mut self) -> PlaybackState {
        match self.open().await {
            Ok(Some(refused)) => return refused,
            Ok(None) => {}
            Err(_) => {
                // Play first, count anyway: a heartbeat counts where the request was lost.
                if let Some(over) = self.unanswered().await {
                    return over;
                }
            }
        }
        self.beat().await
    }

    /// One try to open: `Some` where it is refused.
    async fn open(&mut self) -> Result<Option<PlaybackState>, ClientError> {
        let asked = Silence::begins();
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
                ttl,
                activity,
                ..
            } => {
                self.every = heartbeat_every;
                self.ttl = Some(ttl);
                self.silence = Some(asked);
                let _ = self.report.send(PlaybackState::Opened(activity));
                Ok(None)
            }
            Opening::Refused {
                reason, activity, ..
            } => Ok(Some(PlaybackState::Refused { reason, activity })),
        }
    }

    /// Sends heartbeats, and repeats the request until it is answered.
    async fn unanswered(&mut self) -> Option<PlaybackState> {
        let mut backoff = Backoff::default();
        let mut sent: Option<Silence> = None;
        loop {
            if sent.is_none_or(|last| last.lasts() >= self.every) {
                sent = Some(Silence::begins());
                let metadata = self.request.metadata.clone();
                if let Some(reason) = self.heartbeat(Some(&metadata)).await {
                    return Some(PlaybackState::Stopped(reason));
                }
            }
            tokio::time::sleep(backoff.wait()).await;
            match self.open().await {
                Ok(over) => return over,
                // A retry would fail too, so only heartbeats are sent.
                Err(error) if !error.is_retryable() => return None,
                Err(_) => {}
            }
        }
    }

    /// Heartbeats by a clock that goes on while the device sleeps.
    async fn beat(&mut self) -> PlaybackState {
        let mut last = Silence::begins();
        loop {
            last.until(self.every).await;
            last = Silence::begins();
            if !self.client.is_connected() {
                self.client.connected().await;
                // Spreads the heartbeats of all players over an interval after an outage of the
                // broker.
                let spread = self.every.mul_f64(fraction());
                tokio::time::sleep(spread).await;
            }
            if self.has_expired() {
                // Another stream may have its place by now, so a heartbeat must not take it.
                self.id = Uuid::new_v4();
                match self.open().await {
                    Ok(Some(refused)) => return refused,
                    Ok(None) => continue,
                    // Its heartbeats start it again, not admitted.
                    Err(_) => {}
                }
            }
            if let Some(reason) = self.heartbeat(None).await {
                return PlaybackState::Stopped(reason);
            }
        }
    }

    fn has_expired(&self) -> bool {
        let (Some(ttl), Some(silence)) = (self.ttl, self.silence) else {
            return false;
        };
        silence.lasts() > ttl
    }

    /// One heartbeat; `Some` where the stream was ended. The answer is waited for until the next.
    /// Another interval holds from here on.
    async fn heartbeat(&mut self, metadata: Option<&Metadata>) -> Option<StoppedReason> {
        let bad_news = (self.every / 2).min(PATIENCE);
        let metadata = metadata.filter(|m| !m.is_empty());
        let sent = Silence::begins();
        // An interval that no worker has sent is none that a worker could rely on.
        let every = self.ttl.map(|_| self.every);
        let (tenant, account) = (&self.tenant, &self.account);
        let beat = self
            .backend
            .beat(tenant, account, self.stream, every, metadata, bad_news);
        let told = beat.await;
        if told.is_ok() {
            self.silence = Some(sent);
        }
        match told.unwrap_or_default()? {
            News::Stopped(reason) => Some(reason),
            News::Interval { every, ttl } => {
                (self.every, self.ttl) = (every, Some(ttl));
                None
            }
        }
    }

    async fn end(self, end: Result<End, oneshot::error::RecvError>) {
        let done = match end {
            Ok(End::Abandon) => return,
            Ok(End::Stop(done)) => Some(done),
            Err(_) => None, // dropped
        };
        self.stop().await;
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Returns once the broker has the stop, or after 30 s.
    async fn stop(&self) {
        let mut backoff = Backoff::default();
        let stopping = async {
            loop {
                // An alarm may end for a shorter time than the back-off takes.
                self.client.connected().await;
                let stop = self.backend.stop(&self.tenant, &self.account, self.stream);
                if stop.await.is_ok() {
                    return;
                }
                tokio::time::sleep(backoff.wait()).await;
            }
        };
        let _ = timeout(STOP_FOR, stopping).await;
    }
}

/// A random number from 0 to 1.
fn fraction() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
