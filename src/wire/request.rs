//! Encoding of messages, for clients.

use serde::Serialize;

use super::event_fields::EventFields;
use crate::domain::{Metadata, PlayerEvent, StatusQuery, StreamId, Terms};

/// A request to open a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OpenRequest {
    /// The stream's id, generated before the first attempt; a new one if `None`.
    #[serde(skip)]
    pub stream: Option<StreamId>,
    /// The stream's metadata.
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// Most active streams of the account, including this one; if exceeded, the stream is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active: Option<u32>,
    /// Streams to stop in the same step, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<StreamId>,
    /// Limits by metadata, instead of `max_active`, and which streams to end.
    #[serde(flatten)]
    pub terms: Terms,
    /// Metadata keys to count the account's streams by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
}

#[derive(Serialize)]
struct InitBody<'a> {
    account: &'a str,
    stream: StreamId,
    #[serde(flatten)]
    request: &'a OpenRequest,
}

#[derive(Serialize)]
struct StatusBody<'a> {
    account: &'a str,
    #[serde(flatten)]
    query: &'a StatusQuery,
}

pub(super) fn bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("strings and numbers always encode")
}

/// The body of an `init` of `stream`.
#[must_use]
pub fn init(account: &str, stream: StreamId, request: &OpenRequest) -> Vec<u8> {
    bytes(&InitBody {
        account,
        stream,
        request,
    })
}

/// The body of a `heartbeat` or a `stop`.
#[must_use]
pub fn event(account: &str, event: &PlayerEvent) -> Vec<u8> {
    bytes(&EventFields {
        kind: None,
        account,
        event,
    })
}

/// The body of a `status`.
#[must_use]
pub fn status(account: &str, query: &StatusQuery) -> Vec<u8> {
    bytes(&StatusBody { account, query })
}
