//! Encoding of messages, for clients.

use serde_json::{Map, Value, json};

use super::{BatchWriter, PartitionNumber, event_fields::EventFields, terms::LimitOut};
use crate::domain::{Consistency, Metadata, OnLimit, PlayerEvent, StreamId, Terms};

fn object(account: &str) -> Map<String, Value> {
    Map::from_iter([("account".to_owned(), account.into())])
}

fn pairs(metadata: &Metadata) -> Value {
    Value::from_iter(metadata.pairs())
}

fn bytes(object: Map<String, Value>) -> Vec<u8> {
    Value::Object(object).to_string().into_bytes()
}

/// The fields of an `init`, except its account.
#[derive(Clone, Copy, Debug)]
pub struct InitFields<'a> {
    /// The stream.
    pub stream: StreamId,
    /// Its metadata.
    pub metadata: &'a Metadata,
    /// The maximum number of active streams.
    pub max_active: Option<u32>,
    /// Streams to stop in the same step.
    pub replace: &'a [StreamId],
    /// Further terms.
    pub terms: &'a Terms,
    /// Metadata keys by which the reply counts the streams.
    pub group_by: &'a [String],
}

/// The body of an `init`.
#[must_use]
pub fn init(account: &str, fields: InitFields) -> Vec<u8> {
    let InitFields {
        stream,
        metadata,
        max_active,
        replace,
        terms,
        group_by,
    } = fields;
    let mut body = object(account);
    body.insert("stream".into(), json!(stream.0));
    if !metadata.is_empty() {
        body.insert("metadata".into(), pairs(metadata));
    }
    if let Some(max) = max_active {
        body.insert("max_active".into(), max.into());
    }
    if !replace.is_empty() {
        body.insert(
            "replace".into(),
            replace.iter().map(|s| json!(s.0)).collect(),
        );
    }
    if !terms.limits.is_empty() {
        let limits: Vec<_> = terms.limits.iter().map(LimitOut).collect();
        body.insert("limits".into(), json!(limits));
    }
    if !terms.same.is_empty() {
        body.insert("same".into(), json!(terms.same));
    }
    if terms.on_limit != OnLimit::default() {
        body.insert("on_limit".into(), terms.on_limit.as_str().into());
    }
    if let Some(reason) = &terms.reason {
        body.insert("reason".into(), reason.as_str().into());
    }
    if !group_by.is_empty() {
        body.insert("group_by".into(), json!(group_by));
    }
    bytes(body)
}

/// The body of a `heartbeat` or a `stop`.
#[must_use]
pub fn event(account: &str, event: &PlayerEvent) -> Vec<u8> {
    let fields = EventFields::of(account, event);
    serde_json::to_vec(&fields).expect("strings and numbers always encode")
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
    let mut body = object(account);
    if let Some(stream) = stream {
        body.insert("stream".into(), json!(stream.0));
    }
    if !group_by.is_empty() {
        body.insert("group_by".into(), json!(group_by));
    }
    if consistency == Consistency::Strong {
        body.insert("consistency".into(), "strong".into());
    }
    bytes(body)
}
