//! The client library for Rust players and backends: `streamwatch` with `default-features = false,
//! features = ["client"]`.
//!
//! One [`Client`] is one connection to RabbitMQ, which reconnects automatically. A [`Player`] opens
//! streams and sends their heartbeats; a [`Backend`] requests the activity of accounts; a [`Batcher`]
//! sends the heartbeats and stops of many players in few messages.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use streamwatch::client::{Backend, Client, Names, Player};
//!
//! let client = Client::connect("amqp://user:password@localhost/%2f".parse()?, Names::default());
//! let player = Player::new(client.clone(), "acme".parse()?);
//! let backend = Backend::new(client);
//! # Ok(()) }
//! ```

mod backend;
mod batcher;
mod budget;
mod channels;
mod connection;
mod error;
mod player;
mod request;
mod sent;
mod tenants;

pub use backend::{Backend, PATIENCE};
pub use batcher::{Batcher, NewsReader, StreamNews};
pub use connection::Client;
pub use error::ClientError;
pub use player::{Playback, PlaybackState, Player};
pub use request::{BadNews, BatchEvent};
pub use tenants::{TenantAccounts, Totals};

pub use crate::{
    broker::{AddressError, Addresses, Identity, Names, Tls},
    domain::{
        AccountCount, AccountId, AccountKey, AccountsRequest, ActiveStream, Activity, Condition,
        Conflict, Consistency, GivenReason, Heartbeat, Limit, MAX_KEY_BYTES, MAX_LIMITS, MAX_PAIRS,
        MAX_REPLACED, MAX_SAME_KEYS, MAX_VALUE_BYTES, MAX_WHERE_KEYS, MAX_WHERE_VALUES, Metadata,
        MetadataPatch, OnLimit, PlayerEvent, Refused, RefusedReason, StatusQuery, Stop, StopCause,
        StopTarget, StoppedReason, StreamId, StreamState, Tenant, Terms, ValueCounts, WallTime,
    },
    wire::{AccountStatus, Code, OpenRequest, Opening, PartitionNumber, Problem},
};
