//! RabbitMQ: the only folder that names lapin.
//!
//! It opens connections ([`Connection`]), declares exchanges and queues ([`topology`]), reads and
//! appends to logs, consumes requests, and publishes replies and lifecycle events.

mod address;
mod announce;
mod append;
mod backoff;
mod bounded_log;
mod connect;
mod connect_failure;
mod delivery;
mod direct;
mod error;
mod filter;
mod forward;
mod greeting;
mod ids;
mod log;
mod log_observer;
mod mqtt;
mod names;
mod namespace;
mod no_reply;
mod one_shot_appender;
mod optional_publisher;
mod properties;
mod queue_names;
mod replies;
mod reply_address;
mod reply_to;
mod requests;
mod rpc;
pub mod settings;
#[cfg(feature = "worker")]
mod snapshots;
mod subscription;
mod tls;
pub mod topology;
mod unconfirmed;

pub use address::{AddressError, Addresses};
pub use announce::{Announced, Announcer};
pub use append::{Appended, Appender};
pub use backoff::Backoff;
pub use connect::{Connection, Endpoint};
pub use error::BrokerError;
pub use filter::Frames;
pub use forward::{Forwarded, Forwarder};
pub use greeting::{Greeting, greeting};
pub use log::{LogDelivery, LogEntry, LogFollower, LogFrom};
pub use log_observer::{LogObservation, ObservedWorker, observe_log};
pub use names::{MQTT_EXCHANGE, MqttExchangeError, Names};
pub use namespace::{MAX_NAMESPACE_BYTES, NamespaceError};
pub use no_reply::NoReply;
pub use optional_publisher::OptionalPublisher;
pub use replies::{Replies, ReplyEvent, ReplySender};
pub use reply_address::reply_queue;
pub use reply_to::ReplyTo;
pub use requests::{LocalRequests, Receipt, RequestDelivery, RequestQueue};
pub use rpc::{Outgoing, Published, RpcChannel, RpcEvent};
#[cfg(feature = "worker")]
pub use snapshots::{SnapshotLog, SnapshotParts, SnapshotReader, SnapshotWriter};
pub use subscription::{Subscribed, Subscription};
pub use tls::{Identity, Tls, TlsProblem};
pub use unconfirmed::CONFIRM_WITHIN;
