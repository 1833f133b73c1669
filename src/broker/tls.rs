//! TLS: its settings, connecting, and errors.
//!
//! The files are read for every connection, so that replaced files take effect without a restart.
//! The server's name is always verified.

mod connect;
mod problem;
mod settings;

pub(super) use connect::{connect, instead_of_amqp, stream};
pub use problem::TlsProblem;
pub use settings::{Identity, Tls};
