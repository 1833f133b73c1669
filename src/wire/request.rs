//! Encoding of messages, for clients.

use serde::Serialize;

use super::{BatchWriter, PartitionNumber, event_fields::EventFields};
use crate::domain::{Consistency, Metadata, PlayerEvent, StreamId, Terms};

/// The fields of an `init`, except its account.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct InitFields<'a> {
    /// The stream.
    pub stream: StreamId,
    /// Its metadata.
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    pub metadata: &'a Metadata,
    /// The maximum number of active streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active: Option<u32>,
    /// Streams to stop in the same step.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub replace: &'a [StreamId],
    /// Further terms.
    #[serde(flatten)]
    pub terms: &'a Terms,
    /// Metadata keys by which the reply counts the streams.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub group_by: &'a [String],
}

#[derive(Serialize)]
struct InitBody<'a> {
    account: &'a str,
    #[serde(flatten)]
    fields: InitFields<'a>,
}

#[derive(Serialize)]
struct StatusBody<'a> {
    account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<StreamId>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    group_by: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    consistency: Option<&'static str>,
}

pub(super) fn bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("strings and numbers always encode")
}

/// The body of an `init`.
#[must_use]
pub fn init(account: &str, fields: InitFields) -> Vec<u8> {
    bytes(&InitBody { account, fields })
}

/// The body of a `heartbeat` or a `stop`.
#[must_use]
pub fn event(account: &str, event: &PlayerEvent) -> Vec<u8> {
    bytes(&EventFields::of(account, event))
}

/// The body of a `batch` of accounts of `partition`.
#[must_use]
pub fn batch<'e>(
    partition: PartitionNumber,
    events: impl Iterator<Item = (&'e str, &'e PlayerEvent)>,
) -> Vec<u8> {
    let mut batch = BatchWriter::default();
    events.for_each(|(account, event)| batch.push(account, event));
    batch.body(partition)
}

/// The body of a `status`.
#[must_use]
pub fn status(
    account: &str,
    stream: Option<StreamId>,
    group_by: &[String],
    consistency: Consistency,
) -> Vec<u8> {
    bytes(&StatusBody {
        account,
        stream,
        group_by,
        consistency: (consistency == Consistency::Strong).then_some("strong"),
    })
}
