//! An account as it is stored in snapshots: its records.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Account,
    records::{EndedRecords, Refusal, StreamRecord, Tombstone},
};
use crate::domain::{Metadata, StreamId};

impl Serialize for Account {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.streams(), self.tombstones(), self.refusals()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (streams, tombstones, refusals) = Deserialize::deserialize(from)?;
        Ok(Self::from_records(streams, tombstones, refusals))
    }
}

impl Account {
    /// Creates an account from the results of [`Self::streams`], [`Self::tombstones`] and
    /// [`Self::refusals`].
    #[must_use]
    pub fn from_records(
        streams: Vec<StreamRecord>,
        mut tombstones: Vec<Tombstone>,
        refusals: Vec<Refusal>,
    ) -> Self {
        tombstones.sort_unstable_by_key(|t| t.id);
        let ended = EndedRecords {
            tombstones,
            refusals,
        };
        Self {
            streams: streams.into_iter().collect(),
            ended: (!ended.is_empty()).then(|| Box::new(ended)),
        }
    }

    /// Its streams, expired ones that are not yet removed included, in the order of their starts.
    #[must_use]
    pub fn streams(&self) -> &[StreamRecord] {
        &self.streams
    }

    /// Replaces all metadata by the results of `shared`, which are equal but deduplicated.
    pub fn share_all_metadata(&mut self, mut shared: impl FnMut(&Metadata) -> Metadata) {
        for stream in &mut self.streams {
            stream.metadata = shared(&stream.metadata);
        }
    }

    /// Replaces the metadata of a stream by the result of `shared`, which is equal but
    /// deduplicated.
    pub fn share_metadata(&mut self, id: StreamId, shared: impl FnOnce(&Metadata) -> Metadata) {
        if let Some(stream) = self.streams.iter_mut().find(|s| s.id == id) {
            stream.metadata = shared(&stream.metadata);
        }
    }

    /// Its tombstones, in the order of their ids.
    #[must_use]
    pub fn tombstones(&self) -> &[Tombstone] {
        self.ended.as_deref().map_or(&[], |p| &p.tombstones)
    }

    /// Its stored refusals, in the order of their creation.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        self.ended.as_deref().map_or(&[], |p| &p.refusals)
    }
}
