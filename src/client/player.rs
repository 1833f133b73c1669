//! The player: opens a stream, sends heartbeats, and stops it. It never blocks playback.

mod keeper;
mod silence;

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use super::{Client, OpenRequest, PATIENCE};
use crate::domain::{AccountId, Activity, RefusedReason, StoppedReason, StreamId, Tenant};
use keeper::Keeper;

/// The state of a playback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaybackState {
    /// No worker has replied yet. Play: the heartbeats take effect.
    Unanswered,
    /// It counts.
    Opened(Activity),
    /// It does not count, because of a limit. Whether to play is for the application to decide.
    Refused {
        /// Why.
        reason: RefusedReason,
        /// The account's activity.
        activity: Activity,
    },
    /// Another client stopped or replaced it.
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

/// How a playback ends.
enum End {
    /// With a stop; notifies the sender when the broker has confirmed it.
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

    /// The state of the playback.
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
