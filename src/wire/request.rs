//! Encoding of messages, for clients.

use serde_json::{Map, Value, json};

use super::{BatchWriter, PartitionNumber};
use crate::domain::{BatchEventKind, Consistency, Metadata, StreamId};

fn object(account: &str) -> Map<String, Value> {
    Map::from_iter([("account".to_owned(), account.into())])
}

fn pairs(metadata: &Metadata) -> Value {
    Value::from_iter(metadata.pairs())
}

fn bytes(object: Map<String, Value>) -> Vec<u8> {
    Value::Object(object).to_string().into_bytes()
}

/// The body of an `init`.
#[must_use]
pub fn init(
    account: &str,
    stream: StreamId,
    metadata: &Metadata,
    max_active: Option<u32>,
    replace: &[StreamId],
    group_by: &[String],
) -> Vec<u8> {
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
    if !group_by.is_empty() {
        body.insert("group_by".into(), json!(group_by));
    }
    bytes(body)
}

/// The body of a `heartbeat`, with the interval that the player was last sent, if any.
#[must_use]
pub fn heartbeat(
    account: &str,
    stream: StreamId,
    every_ms: Option<u64>,
    metadata: Option<&Metadata>,
) -> Vec<u8> {
    let mut body = object(account);
    body.insert("stream".into(), json!(stream.0));
    if let Some(every_ms) = every_ms {
        body.insert("heartbeat_every_ms".into(), every_ms.into());
    }
    if let Some(metadata) = metadata {
        body.insert("metadata".into(), pairs(metadata));
    }
    bytes(body)
}

/// The body of a `stop`.
#[must_use]
pub fn stop(account: &str, stream: StreamId) -> Vec<u8> {
    heartbeat(account, stream, None, None)
}

/// The body of a `batch` of accounts of `partition`.
#[must_use]
pub fn batch<'e>(
    partition: PartitionNumber,
    events: impl Iterator<Item = (&'e str, StreamId, &'e BatchEventKind)>,
) -> Vec<u8> {
    let mut batch = BatchWriter::default();
    events.for_each(|(account, stream, kind)| batch.push(account, stream, kind));
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
