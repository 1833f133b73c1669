//! The filter between the socket (plain or TLS) and lapin.
//!
//! lapin closes a connection that delivers a frame it cannot decode: a short string that is not
//! UTF-8, or a frame above the agreed size. Any publisher can cause both. The filter repairs such
//! frames before lapin reads them, and marks the message ([`is_undecodable`]), so that only
//! this message is rejected. It also cuts off bodies that are larger than any message of the
//! contract: RabbitMQ accepts 16 MiB, and lapin buffers a whole prefetch of them.

mod bodies;
mod frames;
mod header;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::{
    AsyncTcpStream, BasicProperties, Connection, ConnectionProperties, types::ShortString,
    uri::AMQPUri,
};

pub use frames::Frames;

/// A connection's stream of decrypted bytes.
pub(super) type ClearStream = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// Returns whether lapin could not have decoded the message without the filter.
///
/// A publisher that sets the mark itself only has its own message rejected.
pub(super) fn is_undecodable(properties: &BasicProperties) -> bool {
    let marked = properties.cluster_id().as_ref();
    marked.is_some_and(|id: &ShortString| id.as_str().as_bytes() == header::UNDECODABLE)
}

/// Opens a connection over the stream that `open` returns, with the filter in between.
pub(super) async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
    largest_body: usize,
    open: impl AsyncFn(AMQPUri) -> lapin::Result<ClearStream> + Send + Sync + 'static,
) -> lapin::Result<Connection> {
    let frame_max = uri.query.frame_max.unwrap_or_default();
    let runtime = RuntimeParts::new(Tokio::current(), Filtered(Tokio::current()));
    let open = async move |uri: AMQPUri, _| {
        Ok(AsyncTcpStream::Plain(Filter {
            stream: open(uri).await?,
            frames: Frames::new(frame_max, largest_body),
        }))
    };
    Connection::connector(uri, Runtime::new(runtime), open, properties).await
}

struct Filter<S> {
    stream: S,
    frames: Frames,
}

impl<S: AsyncRead + Unpin> AsyncRead for Filter<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let n = this.frames.take(into);
            if n > 0 || into.is_empty() {
                return Poll::Ready(Ok(n));
            }
            let room = this.frames.room();
            let n = ready!(Pin::new(&mut this.stream).poll_read(context, room))?;
            if n > 0 {
                this.frames.filled(n);
            } else if !this.frames.end() {
                return Poll::Ready(Ok(0));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Filter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// Tokio's reactor, with [`Filter`] as the type of its streams, as lapin requires.
#[derive(Clone, Debug)]
struct Filtered(Tokio);

impl Reactor for Filtered {
    type TcpStream = Filter<ClearStream>;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// Not supported: lapin does not call it.
    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<ClearStream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, every: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(every)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move {
            Ok(Filter {
                stream: AsyncTcpStream::Plain(connecting.await?),
                frames: Frames::new(0, usize::MAX),
            })
        }
    }
}
