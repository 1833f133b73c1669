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
//! | [`limits`] | limits of requests per second |
//! | [`api`] | the HTTP API |
//! | [`serve`] | the server: connections, TLS, bounds, shutdown |

pub mod access;
pub mod adobe;
pub mod api;
pub mod limits;
mod metrics;
pub mod players;
mod reload;
pub mod serve;

use std::{net::IpAddr, sync::Arc};

pub use access::{Access, Caller, Denied, Scope};
pub use api::RefusedFor;
pub use limits::RequestLimits;
pub use metrics::Readiness;
pub use players::{HeartbeatReply, Interval, Players, UnknownStream};
pub use reload::FileProblems;

/// The state that all routes share. A clone copies one pointer: each request makes several.
pub type Edge = Arc<Services>;

/// The parts of an [`Edge`].
pub struct Services {
    /// The operations of players.
    pub players: Players,
    /// Identifies callers.
    pub access: Access,
    /// Limits of requests per second.
    pub limits: RequestLimits,
}

/// The connection of a request, an extension of each request.
#[derive(Clone, Copy)]
struct Peer {
    address: IpAddr,
    /// Whether the edge ends the connection's TLS.
    is_tls: bool,
}
