//! A checksum of consecutive entries, to recognise them when they are read again.

use crc32fast::Hasher;

use crate::domain::{
    AccountKey, BatchEvent, Entry, Heartbeat, Metadata, PlayerEvent, Stop, StopTarget,
};

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
            Some(Entry::Heartbeat { key, heartbeat }) => {
                add_heartbeat(&mut hasher, key, heartbeat);
            }
            Some(Entry::Stop { key, stop }) => add_stop(&mut hasher, key, stop),
            Some(Entry::Batch(batch)) => {
                for BatchEvent { key, event, .. } in batch.events() {
                    match event {
                        PlayerEvent::Heartbeat(event) => add_heartbeat(&mut hasher, key, event),
                        PlayerEvent::Stop(event) => add_stop(&mut hasher, key, event),
                    }
                }
            }
            Some(Entry::Internal(_)) | None => {}
        }
        self.0 = hasher.finalize();
    }
}

fn add_heartbeat(hasher: &mut Hasher, key: &AccountKey, heartbeat: &Heartbeat) {
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
    hasher.update(key.as_str().as_bytes());
}

fn add_stop(hasher: &mut Hasher, key: &AccountKey, stop: &Stop) {
    hasher.update(&[2]);
    match stop.target {
        StopTarget::One(stream) => hasher.update(stream.0.as_bytes()),
        StopTarget::All => hasher.update(&[3]),
    }
    hasher.update(key.as_str().as_bytes());
}
