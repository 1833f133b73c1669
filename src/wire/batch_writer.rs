//! Encoding of batches, event by event.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Kind, PartitionNumber, batch::event_alone};
use crate::domain::{BatchEvent, BatchEventKind, Metadata, StreamId, Tenant};

/// Upper bound of the size of a batch's body in addition to its events, in bytes.
const ENVELOPE_BYTES: usize = 64;

/// The encoded events of a batch. An event takes no memory in addition to its JSON and its position.
#[derive(Clone, Debug, Default)]
pub struct BatchWriter {
    /// The events, each followed by a comma.
    json: Vec<u8>,
    /// The end of each event, without its comma.
    ends: Vec<u32>,
}

#[derive(Serialize)]
struct EventOut<'a> {
    kind: &'static str,
    account: &'a str,
    stream: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_every_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "pairs")]
    metadata: Option<&'a Metadata>,
}

fn pairs<S: Serializer>(metadata: &Option<&Metadata>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(metadata.iter().flat_map(|metadata| metadata.pairs()))
}

impl BatchWriter {
    /// Appends an event.
    pub fn push(&mut self, account: &str, stream: StreamId, kind: &BatchEventKind) {
        let (word, heartbeat_every_ms, metadata) = match kind {
            BatchEventKind::Heartbeat { every_ms, metadata } => {
                (Kind::Heartbeat, *every_ms, metadata.as_ref())
            }
            BatchEventKind::Stop => (Kind::Stop, None, None),
        };
        let event = EventOut {
            kind: word.as_str(),
            account,
            stream: stream.0,
            heartbeat_every_ms,
            metadata,
        };
        serde_json::to_writer(&mut self.json, &event).expect("strings and numbers always encode");
        self.ends
            .push(u32::try_from(self.json.len()).unwrap_or(u32::MAX));
        self.json.push(b',');
    }

    /// Removes the last event.
    pub fn pop(&mut self) {
        self.ends.pop();
        self.json.truncate(self.start(self.ends.len()));
    }

    /// The number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Upper bound of the size of the body, in bytes.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.json.len() + ENVELOPE_BYTES
    }

    /// The body of a batch of accounts of `partition`.
    #[must_use]
    pub fn body(&self, partition: PartitionNumber) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.body_bytes());
        let PartitionNumber {
            partition,
            partitions,
        } = partition;
        let envelope = format!(r#"{{"partition":{partition},"partitions":{partitions},"events":["#);
        body.extend_from_slice(envelope.as_bytes());
        body.extend_from_slice(self.json.strip_suffix(b",").unwrap_or_default());
        body.extend_from_slice(b"]}");
        body
    }

    /// Decodes the event at `index`, of an account of `tenant`.
    #[must_use]
    pub fn event(&self, tenant: &Tenant, index: usize) -> Option<BatchEvent> {
        let end = usize::try_from(*self.ends.get(index)?).ok()?;
        let json: &RawValue = serde_json::from_slice(&self.json[self.start(index)..end]).ok()?;
        event_alone(tenant.as_str(), json).ok()
    }

    /// The start of the event at `index`.
    fn start(&self, index: usize) -> usize {
        let before = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        before.map_or(0, |end| *end as usize + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: PartitionNumber = PartitionNumber {
        partition: 65_535,
        partitions: 65_535,
    };

    fn heartbeat() -> BatchEventKind {
        let metadata = Metadata::new(&mut [("device", "\"tv\"\n"), ("asset", "9")]).unwrap();
        BatchEventKind::Heartbeat {
            every_ms: Some(7),
            metadata: Some(metadata),
        }
    }

    #[test]
    fn a_body_has_the_fields_of_the_contract() {
        let (mut writer, stream) = (BatchWriter::default(), StreamId::generate());
        writer.push("alice", stream, &heartbeat());
        writer.push("bob, \"b\"", stream, &BatchEventKind::Stop);
        writer.push("gone", stream, &BatchEventKind::Stop);
        writer.pop();
        let body = writer.body(HERE);
        assert!(body.len() <= writer.body_bytes());
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "partition": 65_535,
                "partitions": 65_535,
                "events": [
                    {
                        "kind": "heartbeat", "account": "alice", "stream": stream.0,
                        "heartbeat_every_ms": 7, "metadata": {"device": "\"tv\"\n", "asset": "9"},
                    },
                    {"kind": "stop", "account": "bob, \"b\"", "stream": stream.0},
                ],
            })
        );
    }

    #[test]
    fn each_event_is_decoded_as_it_was_pushed() {
        let (mut writer, tenant) = (BatchWriter::default(), Tenant::new("acme").unwrap());
        assert!(writer.is_empty() && writer.event(&tenant, 0).is_none());
        assert_eq!(writer.body(HERE).last_chunk(), Some(b"[]}"));
        let (first, second) = (StreamId::generate(), StreamId::generate());
        writer.push("alice", first, &heartbeat());
        writer.push("bob", second, &BatchEventKind::Stop);
        let event = writer.event(&tenant, 0).unwrap();
        assert_eq!((event.key.as_str(), event.stream), ("acme/alice", first));
        assert_eq!(event.kind, heartbeat());
        let event = writer.event(&tenant, 1).unwrap();
        assert_eq!((event.key.as_str(), event.stream), ("acme/bob", second));
        assert_eq!(event.kind, BatchEventKind::Stop);
        assert!(writer.event(&tenant, 2).is_none());
        writer.pop();
        writer.push("carol", second, &BatchEventKind::Stop);
        assert_eq!(writer.event(&tenant, 1).unwrap().key.account(), "carol");
        assert_eq!(writer.len(), 2);
    }
}
