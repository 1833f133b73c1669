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

mod access;
mod adobe;
mod api;
mod limits;
mod metrics;
mod players;
mod reload;
pub(crate) mod serve;

use std::{net::IpAddr, sync::Arc};

// For fuzz targets: the decoders of input from outside.
pub use access::{check_file, key_ids};
pub use adobe::{Application, Attributes, Policies, termination_codes};
pub use api::{credentials, status_query};

pub(crate) use access::Access;
pub(crate) use adobe::PolicyFile;
pub(crate) use limits::RequestLimits;

use access::{Caller, Denied};
use api::RefusedFor;
use metrics::Readiness;
use players::{HeartbeatReply, Interval, Players, UnknownStream};
use reload::FileProblems;

/// The state that all routes share. A clone copies one pointer: each request makes several.
type Edge = Arc<Services>;

/// The parts of an [`Edge`].
struct Services {
    /// The operations of players.
    players: Players,
    /// Identifies callers.
    access: Access,
    /// Limits of requests per second.
    limits: RequestLimits,
}

/// The connection of a request, an extension of each request.
#[derive(Clone, Copy)]
struct Peer {
    address: IpAddr,
    /// Whether the edge ends the connection's TLS.
    is_tls: bool,
}
