//! What a Rust player or backend links: `streamwatch` with `default-features = false, features =
//! ["client"]`.
//!
//! One [`Client`] is one connection to RabbitMQ, which comes back by itself. A [`Player`] opens
//! streams and keeps them counted; a [`Backend`] asks what accounts are playing.

mod backend;
mod channels;
mod connection;
mod error;
mod player;

pub use backend::{AccountStatus, Backend, OpenRequest, Opening, PATIENCE, StatusQuery};
pub use connection::Client;
pub use error::ClientError;
pub use player::{Playback, PlaybackState, Player};

pub use crate::{
    broker::{AddressError, Addresses, Identity, Names, Tls},
    domain::{
        AccountId, ActiveStream, Activity, Consistency, Metadata, RefusedReason, StoppedReason,
        StreamId, StreamState, Tenant,
    },
};
