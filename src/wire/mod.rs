//! The contract: JSON and headers to and from the domain, with every limit and error code.
//!
//! Decoders take a [`Message`] and return a validated value or a [`Problem`], which never quotes
//! the message.

mod addressed;
mod amqp_value;
mod batch;
mod batch_writer;
mod claimed_account;
mod decode;
mod diagnosis;
mod event_fields;
mod fields;
mod gzip;
mod ignored;
mod internal;
mod lifecycle;
mod message;
mod metadata_field;
mod notice;
mod problem;
mod rejected;
mod reply;
mod reply_topic;
mod request;
mod routing_key;
mod shared_fields;
#[cfg(feature = "worker")]
pub mod snapshot;
mod tenant;
mod terms;
mod timestamp;
mod trace;

pub use addressed::{Addressed, group_by as group_by_keys};
pub use batch::{MAX_BATCH_BYTES, rejected_events};
pub use batch_writer::BatchWriter;
pub use claimed_account::ClaimedAccount;
pub use decode::{Query, account, entry, init, query};
pub use gzip::{GZIP, compress};
pub use ignored::ignored;
pub use internal::{decode as decode_internal, encode as encode_internal, kind as internal_kind};
pub use lifecycle::{LifecycleMessage, announcement, decode as decode_lifecycle};
pub use message::{ACCOUNT_HEADER, AccountHeader, MAX_BODY_BYTES, Message};
pub use notice::Notice;
pub use problem::{Code, Problem};
pub use rejected::{Origin, Rejected, decode as decode_rejected, rejected};
pub use reply::{
    APP_ID, AccountStatus, BadReply, CONTRACT, CountsBy, Encoded, EventNews, MAX_REPLY_BYTES, News,
    Opening, PartitionNumber, Reply, answer, batch as batch_reply, decode as decode_reply, error,
    tenant_answer,
};
pub use reply_topic::{REPLIES, is_reply_topic};
pub use request::{OpenRequest, event as event_body, init as init_body, status as status_body};
pub use routing_key::{Kind, RoutingKey};
pub use tenant::tenant_body;
pub use timestamp::{Rfc3339, show};
pub use trace::{MAX_STATE_BYTES, Trace};
