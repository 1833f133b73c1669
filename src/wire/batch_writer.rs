//! Encoding of batches, event by event.

use serde_json::value::RawValue;

use super::{Kind, PartitionNumber, batch::event_alone, event_fields::EventFields};
use crate::domain::{BatchEvent, PlayerEvent, Tenant};

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

impl BatchWriter {
    /// Appends an event.
    pub fn push(&mut self, account: &str, event: &PlayerEvent) {
        let fields = EventFields {
            kind: Some(Kind::of_event(event)),
            account,
            event,
        };
        serde_json::to_writer(&mut self.json, &fields).expect("strings and numbers always encode");
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
    use crate::domain::{GivenReason, Heartbeat, Metadata, MetadataPatch, Stop, StreamId};

    const HERE: PartitionNumber = PartitionNumber {
        partition: 65_535,
        partitions: 65_535,
    };

    fn heartbeat(stream: StreamId) -> PlayerEvent {
        let set = Metadata::new(&mut [("device", "\"tv\"\n"), ("asset", "9")]).unwrap();
        let metadata = MetadataPatch::merge(set, vec!["state".into()]).unwrap();
        PlayerEvent::Heartbeat(Heartbeat {
            every_ms: Some(7),
            metadata: Some(metadata),
            ..Heartbeat::of(stream)
        })
    }

    fn stop_all() -> PlayerEvent {
        Stop::of_all(GivenReason::new("\"bye\"").ok()).into()
    }

    fn stop() -> PlayerEvent {
        Stop::of(StreamId::generate()).into()
    }

    #[test]
    fn a_body_has_the_fields_of_the_contract() {
        let (mut writer, stream) = (BatchWriter::default(), StreamId::generate());
        writer.push("alice", &heartbeat(stream));
        writer.push("bob, \"b\"", &Stop::of(stream).into());
        writer.push("carol", &stop_all());
        writer.push("gone", &stop());
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
                        "heartbeat_every_ms": 7,
                        "metadata": {"device": "\"tv\"\n", "asset": "9", "state": null},
                    },
                    {"kind": "stop", "account": "bob, \"b\"", "stream": stream.0},
                    {"kind": "stop", "account": "carol", "all": true, "reason": "\"bye\""},
                ],
            })
        );
    }

    #[test]
    fn each_event_is_decoded_as_it_was_pushed() {
        let (mut writer, tenant) = (BatchWriter::default(), Tenant::new("acme").unwrap());
        assert!(writer.is_empty() && writer.event(&tenant, 0).is_none());
        assert_eq!(writer.body(HERE).last_chunk(), Some(b"[]}"));
        let (first, second) = (heartbeat(StreamId::generate()), stop());
        writer.push("alice", &first);
        writer.push("bob", &second);
        let event = writer.event(&tenant, 0).unwrap();
        assert_eq!((event.key.as_str(), event.event), ("acme/alice", first));
        let event = writer.event(&tenant, 1).unwrap();
        assert_eq!((event.key.as_str(), event.event), ("acme/bob", second));
        assert!(writer.event(&tenant, 2).is_none());
        writer.pop();
        writer.push("carol", &stop_all());
        let event = writer.event(&tenant, 1).unwrap();
        assert_eq!(
            (event.key.as_str(), event.event),
            ("acme/carol", stop_all())
        );
        assert_eq!(writer.len(), 2);
    }
}
