//! The signals that stop a command gracefully.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::Instant,
};

use crate::deadline;

/// A channel that becomes true on SIGTERM or Ctrl-C.
pub(super) fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
        let _ = stop.send(true);
    });
    Ok(stopped)
}

/// Waits for the signal, at most until `until`.
pub(super) async fn over(stop: &mut watch::Receiver<bool>, until: Option<Instant>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = deadline::until(until) => {}
    }
}

/// Waits for a second Ctrl-C. The first one stops the command gracefully, the second one at once.
#[cfg(feature = "play")]
pub(super) async fn interrupted_twice() {
    for _ in 0..2 {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
    }
}
