//! The listener: it accepts connections within the bounds, and hands them over.

use std::{future::Future, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::sleep,
};

use super::{connection::Connections, peers::Peers};
use crate::edge::{Access, metrics};

/// Pause after an error of the listener, such as no free file descriptor.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections, and serves each in a task.
pub(super) struct Acceptor {
    listener: TcpListener,
    connections: Connections,
    access: Access,
    permits: Arc<Semaphore>,
    peers: Peers,
    pub(super) open: JoinSet<()>,
}

/// A connection, its peer, and its share of the bound of connections.
type Accepted = (TcpStream, IpAddr, OwnedSemaphorePermit);

impl Acceptor {
    pub(super) fn new(listener: TcpListener, connections: Connections, access: Access) -> Self {
        Self {
            listener,
            access,
            permits: Arc::new(Semaphore::new(connections.bounds.connections)),
            connections,
            peers: Peers::default(),
            open: JoinSet::new(),
        }
    }

    /// Accepts connections until `end`.
    pub(super) async fn accept_until(&mut self, end: impl Future) {
        let mut end = pin!(end);
        loop {
            let accepted = tokio::select! {
                _ = &mut end => return,
                accepted = accept(&self.listener, &self.permits) => accepted,
                Some(_) = self.open.join_next(), if !self.open.is_empty() => continue,
            };
            if let Some(accepted) = accepted {
                self.serve(accepted);
            }
        }
    }

    /// Closes the listener. Returns the open connections.
    pub(super) fn close(mut self) -> JoinSet<()> {
        // Their clients are connected, and may have sent requests.
        while let Some(Some(accepted)) = accept(&self.listener, &self.permits).now_or_never() {
            self.serve(accepted);
        }
        self.open
    }

    fn serve(&mut self, (stream, peer, permit): Accepted) {
        let bounds = self.connections.bounds;
        let most = bounds.of_client(self.access.trusts(peer));
        let Some(counted) = self.peers.admit(peer, most) else {
            return metrics::closed("crowded");
        };
        let connection = self.connections.serve(stream, peer);
        self.open.spawn(async move {
            connection.await;
            drop((permit, counted));
        });
    }
}

/// Accepts a connection as soon as there are fewer than allowed.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Responses are small, and a player waits for them.
            let _ = stream.set_nodelay(true);
            Some((stream, peer.ip().to_canonical(), permit))
        }
        Err(error) => {
            tracing::debug!(%error, "cannot accept a connection");
            sleep(PAUSE).await;
            None
        }
    }
}
