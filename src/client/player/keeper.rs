//! The background task of one playback: its request, its heartbeats and its stop.

use std::time::Duration;

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use uuid::Uuid;

use super::{
    state::{PlaybackEnd, PlaybackState},
    stopwatch::Stopwatch,
};
use crate::{
    broker::Backoff,
    client::{Backend, BadNews, Client, ClientError, OpenRequest, Opening, PATIENCE},
    domain::{AccountId, Heartbeat, Metadata, StopCause, StreamId, Tenant},
};

/// Interval of heartbeats until the first reply.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// Time for which a stop is retried; the stream then expires after its TTL.
const STOP_FOR: Duration = Duration::from_secs(30);

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
    /// The time of the last heartbeat that the broker confirmed.
    confirmed: Option<Stopwatch>,
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
            confirmed: None,
            report,
        }
    }

    pub(super) async fn run(mut self, mut ended: oneshot::Receiver<PlaybackEnd>) {
        let over = tokio::select! {
            over = self.play() => over,
            end = &mut ended => return self.end(end).await,
        };
        // Refused after heartbeats took effect: the stream is stopped, as it is not played.
        let active = self.confirmed.is_some() && matches!(over, PlaybackState::Refused { .. });
        let _ = self.report.send(over);
        if active {
            self.stop().await;
        }
        if let Ok(PlaybackEnd::Stop(done)) = ended.await {
            let _ = done.send(());
        }
    }

    /// Plays until the stream is refused or stopped.
    async fn play(&mut self) -> PlaybackState {
        match self.open().await {
            Ok(Some(refused)) => return refused,
            Ok(None) => {}
            Err(error) => {
                // Playback does not wait: a heartbeat takes effect if the request was lost.
                if let Some(over) = self.unanswered(error).await {
                    return over;
                }
            }
        }
        self.send_heartbeat().await
    }

    /// Sends the request once. `Some` if the stream is refused.
    async fn open(&mut self) -> Result<Option<PlaybackState>, ClientError> {
        let requested = Stopwatch::start();
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
                self.confirmed = Some(requested);
                let _ = self.report.send(PlaybackState::Opened(activity));
                Ok(None)
            }
            Opening::Refused {
                refusal, activity, ..
            } => Ok(Some(PlaybackState::Refused { refusal, activity })),
        }
    }

    /// Sends heartbeats, and repeats the request until a worker replies.
    async fn unanswered(&mut self, mut error: ClientError) -> Option<PlaybackState> {
        let mut backoff = Backoff::default();
        let mut sent: Option<Stopwatch> = None;
        loop {
            if sent.is_none_or(|last| last.elapsed() >= self.every) {
                sent = Some(Stopwatch::start());
                let metadata = self.request.metadata.clone();
                if let Some(cause) = self.heartbeat(Some(&metadata)).await {
                    return Some(PlaybackState::Stopped(cause));
                }
            }
            let wait = backoff.wait().max(error.retry_after().unwrap_or_default());
            tokio::time::sleep(wait).await;
            match self.open().await {
                Ok(over) => return over,
                // A retry would fail too, so only heartbeats are sent.
                Err(failed) if !failed.is_retryable() => return None,
                Err(failed) => error = failed,
            }
        }
    }

    /// Sends heartbeats until the stream is refused or stopped. The interval includes the time that
    /// the device sleeps.
    async fn send_heartbeat(&mut self) -> PlaybackState {
        let mut last = Stopwatch::start();
        loop {
            last.wait(self.every).await;
            last = Stopwatch::start();
            if !self.client.is_connected() {
                self.client.connected().await;
                // Spreads the heartbeats of all players over an interval after an outage of the
                // broker.
                let spread = self.every.mul_f64(fraction());
                tokio::time::sleep(spread).await;
            }
            if self.has_expired() {
                // Another stream may have been admitted meanwhile: an `init` decides, not a heartbeat.
                self.id = Uuid::new_v4();
                match self.open().await {
                    Ok(Some(refused)) => return refused,
                    Ok(None) => continue,
                    // Without a reply, the heartbeat starts the stream again, without admission.
                    Err(_) => {}
                }
            }
            if let Some(cause) = self.heartbeat(None).await {
                return PlaybackState::Stopped(cause);
            }
        }
    }

    /// Returns whether no heartbeat was confirmed for longer than the TTL.
    fn has_expired(&self) -> bool {
        let (Some(ttl), Some(confirmed)) = (self.ttl, self.confirmed) else {
            return false;
        };
        confirmed.elapsed() > ttl
    }

    /// Sends one heartbeat. `Some` if the stream was stopped. Waits for a reply for half the
    /// interval, at most 2 s, and adopts a changed interval.
    async fn heartbeat(&mut self, metadata: Option<&Metadata>) -> Option<StopCause> {
        let wait = (self.every / 2).min(PATIENCE);
        let metadata = metadata.filter(|m| !m.is_empty());
        let sent = Stopwatch::start();
        // The default interval is not reported: no worker has sent it.
        let every_ms = self
            .ttl
            .and_then(|_| u32::try_from(self.every.as_millis()).ok());
        let heartbeat = Heartbeat {
            every_ms,
            metadata: metadata.cloned().map(Into::into),
            ..Heartbeat::of(self.stream)
        };
        let (tenant, account) = (&self.tenant, &self.account);
        let reply = self
            .backend
            .send_heartbeat(tenant, account, heartbeat, wait)
            .await;
        if reply.is_ok() {
            self.confirmed = Some(sent);
        }
        match reply.unwrap_or_default()? {
            BadNews::Stopped(cause) => Some(cause),
            BadNews::Interval { every, ttl } => {
                (self.every, self.ttl) = (every, Some(ttl));
                None
            }
            BadNews::Rejected(_) | BadNews::Lost => None,
        }
    }

    async fn end(self, end: Result<PlaybackEnd, oneshot::error::RecvError>) {
        let done = match end {
            Ok(PlaybackEnd::Abandon) => return,
            Ok(PlaybackEnd::Stop(done)) => Some(done),
            Err(_) => None, // dropped
        };
        self.stop().await;
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Stops the stream. Returns once the broker has confirmed the stop, or after 30 s.
    async fn stop(&self) {
        let mut backoff = Backoff::default();
        let stopping = async {
            loop {
                // An alarm may end for less time than the back-off waits.
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
