//! A checksum of consecutive entries, to recognise them when they are read again.

use crc32fast::Hasher;

use crate::domain::{AccountKey, BatchEventKind, Entry, Metadata, StreamId};

/// A CRC-32 of entries and their offsets; 0 without entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checksum(u32);

impl Checksum {
    /// The checksum of entries of which one is not known. It agrees with every other.
    pub(super) const UNKNOWN: Self = Self(u32::MAX);

    /// Converts from the number in a snapshot.
    pub(super) const fn from_sum(sum: u32) -> Self {
        Self(sum)
    }

    /// Converts to the number in a snapshot.
    pub(super) const fn sum(self) -> u32 {
        self.0
    }

    /// Whether both can belong to the same entries.
    pub(super) fn agrees(self, other: Self) -> bool {
        self == other || self == Self::UNKNOWN || other == Self::UNKNOWN
    }

    /// Adds the player's entry at `offset`; `None` cannot be decoded. Internal entries are
    /// recognised by their entry_id instead.
    pub(super) fn add(&mut self, offset: u64, entry: Option<&Entry>) {
        if *self == Self::UNKNOWN {
            return;
        }
        let mut hasher = Hasher::new_with_initial(self.0);
        hasher.update(&offset.to_le_bytes());
        match entry {
            Some(Entry::Heartbeat {
                key,
                stream,
                every_ms,
                metadata,
            }) => add_heartbeat(&mut hasher, key, *stream, *every_ms, metadata.as_ref()),
            Some(Entry::Stop { key, stream }) => add_stop(&mut hasher, key, *stream),
            Some(Entry::Batch(batch)) => {
                for event in batch.events() {
                    match &event.kind {
                        BatchEventKind::Heartbeat { every_ms, metadata } => {
                            let metadata = metadata.as_ref();
                            add_heartbeat(
                                &mut hasher,
                                &event.key,
                                event.stream,
                                *every_ms,
                                metadata,
                            );
                        }
                        BatchEventKind::Stop => add_stop(&mut hasher, &event.key, event.stream),
                    }
                }
            }
            Some(Entry::Internal { .. }) | None => {}
        }
        self.0 = hasher.finalize();
    }
}

fn add_heartbeat(
    hasher: &mut Hasher,
    key: &AccountKey,
    stream: StreamId,
    every_ms: Option<u32>,
    metadata: Option<&Metadata>,
) {
    for (name, value) in metadata.into_iter().flat_map(Metadata::pairs) {
        hasher.update(name.as_bytes());
        hasher.update(value.as_bytes());
    }
    hasher.update(&[1]);
    hasher.update(&every_ms.unwrap_or(0).to_le_bytes());
    hasher.update(stream.0.as_bytes());
    hasher.update(key.as_str().as_bytes());
}

fn add_stop(hasher: &mut Hasher, key: &AccountKey, stream: StreamId) {
    hasher.update(&[2]);
    hasher.update(stream.0.as_bytes());
    hasher.update(key.as_str().as_bytes());
}
