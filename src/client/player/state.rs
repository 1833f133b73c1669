//! The states and the end of a playback.

use tokio::sync::oneshot;

use crate::domain::{Activity, Refused, StopCause};

/// The state of a playback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaybackState {
    /// No worker has replied yet. Play: the heartbeats take effect.
    Unanswered,
    /// The stream is active.
    Opened(Activity),
    /// The stream is not active, because of a limit. The application decides whether to play.
    Refused {
        /// The reason, and what to do about it.
        refusal: Refused,
        /// The account's activity.
        activity: Activity,
    },
    /// Another client stopped or replaced the stream.
    Stopped(StopCause),
}

pub(super) enum PlaybackEnd {
    /// With a stop. The sender is notified once the broker has confirmed the stop.
    Stop(oneshot::Sender<()>),
    /// Without a stop.
    Abandon,
}
