//! A checksum of consecutive entries, to recognise them when they are read again.

use crc32fast::Hasher;

use crate::domain::{AccountKey, BatchEvent, Entry, Metadata, PlayerEvent, StopTarget};

/// A CRC-32 of entries and their offsets; 0 without entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) u32);

impl Checksum {
    /// The checksum of entries of which one is not known. It agrees with every other.
    pub(super) const UNKNOWN: Self = Self(u32::MAX);

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
            Some(Entry::Player { key, event }) => add_event(&mut hasher, key, event),
            Some(Entry::Batch(batch)) => {
                for BatchEvent { key, event, .. } in batch.events() {
                    add_event(&mut hasher, key, event);
                }
            }
            Some(Entry::Internal(_)) | None => {}
        }
        self.0 = hasher.finalize();
    }
}

fn add_event(hasher: &mut Hasher, key: &AccountKey, event: &PlayerEvent) {
    match event {
        PlayerEvent::Heartbeat(heartbeat) => {
            if let Some(metadata) = &heartbeat.metadata {
                for (name, value) in metadata.set().into_iter().flat_map(Metadata::pairs) {
                    hasher.update(name.as_bytes());
                    hasher.update(value.as_bytes());
                }
                for name in metadata.removed() {
                    hasher.update(name.as_bytes());
                }
            }
            hasher.update(&[1]);
            hasher.update(&heartbeat.every_ms.unwrap_or(0).to_le_bytes());
            hasher.update(heartbeat.stream.0.as_bytes());
        }
        PlayerEvent::Stop(stop) => {
            hasher.update(&[2]);
            match stop.target {
                StopTarget::One(stream) => hasher.update(stream.0.as_bytes()),
                StopTarget::All => hasher.update(&[3]),
            }
        }
    }
    hasher.update(key.as_str().as_bytes());
}
