//! The fields of heartbeats and stops, alone and in batches.

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};

use super::Kind;
use crate::domain::{Metadata, MetadataPatch, PlayerEvent, StopTarget};

/// The fields of an event.
pub(super) struct EventFields<'a> {
    /// Its kind, if it is in a batch.
    pub(super) kind: Option<Kind>,
    pub(super) account: &'a str,
    pub(super) event: &'a PlayerEvent,
}

impl Serialize for EventFields<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut fields = to.serialize_struct("event", 5)?;
        if let Some(kind) = self.kind {
            fields.serialize_field("kind", &kind)?;
        }
        fields.serialize_field("account", self.account)?;
        match self.event {
            PlayerEvent::Heartbeat(heartbeat) => {
                fields.serialize_field("stream", &heartbeat.stream)?;
                if let Some(every_ms) = heartbeat.every_ms {
                    fields.serialize_field("heartbeat_every_ms", &every_ms)?;
                }
                if let Some(patch) = &heartbeat.metadata {
                    fields.serialize_field("metadata", &PatchOut(patch))?;
                }
            }
            PlayerEvent::Stop(stop) => {
                match stop.target {
                    StopTarget::One(stream) => fields.serialize_field("stream", &stream)?,
                    StopTarget::All => fields.serialize_field("all", &true)?,
                }
                if let Some(Ok(reason)) = &stop.reason {
                    fields.serialize_field("reason", reason)?;
                }
            }
        }
        fields.end()
    }
}

struct PatchOut<'a>(&'a MetadataPatch);

impl Serialize for PatchOut<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut pairs = to.serialize_map(None)?;
        for (key, value) in self.0.set().into_iter().flat_map(Metadata::pairs) {
            pairs.serialize_entry(key, value)?;
        }
        for key in self.0.removed() {
            pairs.serialize_entry(key, &())?;
        }
        pairs.end()
    }
}
