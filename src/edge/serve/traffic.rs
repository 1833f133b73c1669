//! The traffic of a connection, which distinguishes idle and slow connections from busy ones.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// The traffic of a connection, shared by its socket and its requests.
#[derive(Clone)]
pub(super) struct Traffic(Arc<Mutex<State>>);

struct State {
    /// Requests in progress.
    requests: usize,
    /// The end of the last request, or the start of the connection.
    idle_since: Instant,
    /// The arrival of the first byte since then.
    first_byte: Option<Instant>,
    /// Whether there was a request.
    has_begun: bool,
    /// Whether requests are multiplexed. Bytes without a request are normal then.
    is_http2: bool,
}

/// The reason to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closes {
    /// The headers of a request do not arrive in time.
    Slow,
    /// No request has arrived for a long time.
    Idle,
}

impl Traffic {
    pub(super) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(State {
            requests: 0,
            idle_since: now,
            first_byte: None,
            has_begun: false,
            is_http2: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request as long as the returned value exists.
    pub(super) fn request(&self, is_http2: bool) -> InProgress {
        let mut state = self.state();
        state.requests += 1;
        state.has_begun = true;
        state.is_http2 = is_http2;
        InProgress(self.clone())
    }

    /// Whether there was a request.
    pub(super) fn has_begun(&self) -> bool {
        self.state().has_begun
    }

    /// Whether there was a request over HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.state().is_http2
    }

    /// Returns the reason to close the connection now, or the earliest time at which there can be one.
    pub(super) fn closes(
        &self,
        headers_within: Duration,
        idle: Duration,
        now: Instant,
    ) -> Result<Closes, Instant> {
        let state = self.state();
        if state.requests > 0 {
            return Err(now + idle.min(headers_within));
        }
        // Bytes may arrive just after this check.
        let first_byte = state.first_byte.unwrap_or(now);
        let slow_at = (!state.is_http2).then(|| first_byte + headers_within);
        let idle_at = state.idle_since + idle;
        if slow_at.is_some_and(|at| at <= now) {
            Ok(Closes::Slow)
        } else if idle_at <= now {
            Ok(Closes::Idle)
        } else {
            Err(slow_at.map_or(idle_at, |at| at.min(idle_at)))
        }
    }

    fn received(&self) {
        let mut state = self.state();
        if state.requests == 0 && state.first_byte.is_none() {
            state.first_byte = Some(Instant::now());
        }
    }
}

/// A request in progress.
pub(super) struct InProgress(Traffic);

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.idle_since = Instant::now();
        state.first_byte = None;
    }
}

/// A socket that reports its traffic.
pub(super) struct Watched<S> {
    pub(super) socket: S,
    pub(super) traffic: Traffic,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.traffic.received();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_slow_after_its_first_byte_and_idle_without_one() {
        let began = Instant::now();
        let (headers, idle) = (Duration::from_secs(10), Duration::from_secs(60));
        let traffic = Traffic::new(began);
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        let closes = |seconds| traffic.closes(headers, idle, after(seconds)).ok();
        assert_eq!(
            (closes(9), closes(59), closes(61)),
            (None, None, Some(Closes::Idle))
        );
        traffic.received();
        assert_eq!((closes(9), closes(11)), (None, Some(Closes::Slow)));
        let request = traffic.request(false);
        assert_eq!(closes(1_000), None);
        traffic.received();
        drop(request);
        assert_eq!((closes(11), closes(61)), (None, Some(Closes::Idle)));
        drop(traffic.request(true));
        traffic.received();
        assert_eq!((closes(11), closes(61)), (None, Some(Closes::Idle)));
    }
    #[tokio::test]
    async fn a_connection_is_checked_when_it_can_be_slow_or_idle() {
        let (headers, idle) = (Duration::from_secs(10), Duration::from_secs(75));
        let began = Instant::now();
        let traffic = Traffic::new(began);
        let next = |now| traffic.closes(headers, idle, now);
        assert_eq!(next(began), Err(began + headers), "bytes may follow");
        traffic.received();
        let slow = next(began + headers).expect_err("no headers have arrived");
        assert!(slow >= began + headers && slow < began + 2 * headers);
        assert_eq!(next(slow), Ok(Closes::Slow));

        let request = traffic.request(false);
        assert_eq!(next(slow), Err(slow + headers));
        drop(request);
        let before = began + idle - headers / 2;
        let ends = next(before).expect_err("it has had a request");
        assert!(ends >= began + idle && ends < before + headers);
        assert_eq!(next(ends), Ok(Closes::Idle));
    }
}
