//! The edge: an HTTP service in front of RabbitMQ, for players that cannot use AMQP.
//!
//! It is the only part of an installation that faces the internet. It is stateless: any number of
//! edges can run side by side.
//!
//! | file | content |
//! | --- | --- |
//! | [`players`] | the operations of a player, without HTTP |
//! | [`access`] | the caller of a request: its tenant and its accounts |
//! | [`adobe`] | the APIs of Adobe's Concurrency Monitoring |
//! | [`decoders`] | the decoders of input from outside, for fuzz targets |
//! | [`limits`] | limits of requests per second |
//! | [`api`] | the HTTP API |
//! | [`serve`] | the server: connections, TLS, bounds, shutdown |

pub mod access;
pub mod adobe;
pub mod api;
pub mod decoders;
pub mod limits;
mod metrics;
pub mod players;
mod reload;
pub mod serve;

use std::{net::IpAddr, ops::Deref, sync::Arc};

pub use access::{Access, AccessError, Caller, Denied, Scope};
pub use api::RefusedFor;
pub use limits::{RequestLimits, RequestRates};
pub use metrics::Readiness;
pub use players::{HeartbeatReply, Interval, Players, PlayersError, UnknownStream};
pub use reload::FileError;

/// The state that all routes share. A clone copies one pointer: each request makes several.
#[derive(Clone)]
pub struct Edge(Arc<Services>);

/// The parts of an [`Edge`].
pub struct Services {
    /// The operations of players.
    pub players: Players,
    /// Identifies callers.
    pub access: Access,
    /// Limits of requests per second.
    pub limits: RequestLimits,
}

impl From<Services> for Edge {
    fn from(services: Services) -> Self {
        Self(Arc::new(services))
    }
}

impl Deref for Edge {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// The address of a request's client, an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// The peer of the connection.
    pub peer: IpAddr,
    /// The client: the peer, or the address that a trusted proxy states.
    pub client: IpAddr,
    /// Whether the edge ends the connection's TLS.
    pub is_tls: bool,
}
