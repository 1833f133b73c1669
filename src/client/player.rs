//! The player: opens a stream, sends heartbeats, and stops it. It never blocks playback.

mod keeper;
mod state;
mod stopwatch;

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use super::{Client, OpenRequest, PATIENCE};
use crate::domain::{AccountId, StreamId, Tenant};
use keeper::Keeper;
use state::PlaybackEnd;
pub use state::PlaybackState;

/// A player of one tenant's streams. Any number of players can share a [`Client`].
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
    /// Creates a player of `tenant`.
    #[must_use]
    pub const fn new(client: Client, tenant: Tenant) -> Self {
        Self { client, tenant }
    }

    /// Opens a stream for `account`, and waits up to 2 s for the reply. Always returns a playback:
    /// without a reply, its heartbeats take effect, and the request is repeated with the same id
    /// until a worker replies.
    pub async fn open(&self, account: AccountId, request: OpenRequest) -> Playback {
        let stream = request.stream.unwrap_or_else(StreamId::generate);
        let (report, state) = watch::channel(PlaybackState::Unanswered);
        let (end, ended) = oneshot::channel();
        let (client, tenant) = (self.client.clone(), self.tenant.clone());
        let keeper = Keeper::new(client, tenant, account, stream, request, report);
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

/// A stream that is being played. Dropping it stops it.
pub struct Playback {
    stream: StreamId,
    state: watch::Receiver<PlaybackState>,
    end: Option<oneshot::Sender<PlaybackEnd>>,
}

impl Playback {
    /// The stream's id.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// The state of the playback.
    #[must_use]
    pub fn state(&self) -> PlaybackState {
        self.state.borrow().clone()
    }

    /// Waits for the next state; `false` if the state is final.
    pub async fn changed(&mut self) -> bool {
        self.state.changed().await.is_ok()
    }

    /// Stops the stream. Returns once the broker has confirmed the stop, or after 30 s; the stream
    /// then expires after its TTL.
    pub async fn stop(mut self) {
        if let Some(end) = self.end.take() {
            let (done, is_done) = oneshot::channel();
            if end.send(PlaybackEnd::Stop(done)).is_ok() {
                let _ = is_done.await;
            }
        }
    }

    /// Ends the heartbeats without a stop, like a device that loses power. The stream expires after
    /// its TTL.
    pub fn abandon(mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(PlaybackEnd::Abandon);
        }
    }
}
