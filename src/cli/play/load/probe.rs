//! The kinds of probes, and their timeouts.

use std::time::Duration;

/// Timeout of a reply.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Time that a request waits for a lagging worker; see [`crate::broker::topology::REQUEST_TTL`].
pub(super) const LAG_PATIENCE: Duration = Duration::from_secs(10);

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Init,
    Status,
    Lag,
}

impl Probe {
    pub(super) const fn patience(self) -> Duration {
        match self {
            Self::Init | Self::Status => PATIENCE,
            Self::Lag => LAG_PATIENCE,
        }
    }
}
