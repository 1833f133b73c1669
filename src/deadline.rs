//! Waiting until a deadline that may be absent.

use tokio::time::{Instant, sleep_until};

/// Sleeps until `deadline`. Pending for `None`.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
