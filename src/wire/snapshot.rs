//! Snapshots of a replica, as messages of the partition's snapshot log.
//!
//! A snapshot is a header, parts with accounts, parts with buffered lifecycle events, and a
//! trailer: messages with the snapshot's id, numbered from 0. Each contains the offsets of its own
//! snapshot and of the complete one before it, so that a reader can start at any message.
//!
//! A message is `SWS`, one byte for the version of the format, the CRC-32 of the rest in four
//! bytes, and an LZ4 frame. A reader rejects other versions.

mod part;

use std::io::{Read, Write};

use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use crate::domain::Account;
pub use part::{Part, PartContent, SnapshotRef};

/// Maximum size of a part before compression, in bytes. The largest possible account fits into a
/// part, and the message fits into RabbitMQ's maximum of 16 MiB.
pub const MAX_PART_BYTES: usize = 15 * 1024 * 1024;

const MAGIC: [u8; 3] = *b"SWS";
const VERSION: u8 = 3;
/// The position of the LZ4 frame.
const BEGIN: usize = 8;

/// The reason why a part cannot be encoded or decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The message has another format.
    #[error("the message is not a part of a snapshot")]
    Foreign,
    /// The part has another version of the format.
    #[error("the snapshot has the unknown format {0}")]
    Version(u8),
    /// The part is truncated or changed.
    #[error("a part of the snapshot is damaged")]
    Damaged,
    /// The part is larger than 15 MiB.
    #[error("a part of the snapshot is too large")]
    TooLarge,
}

/// Encodes parts one after another in the same buffers, because new buffers for each part would be
/// allocated and freed by the system each time.
pub struct Encoder {
    plain: Vec<u8>,
    frames: FrameEncoder<Vec<u8>>,
}

impl Default for Encoder {
    fn default() -> Self {
        // Parts are rarely larger. By default, the first part determines the size of all blocks.
        let frames = FrameInfo::new().block_size(BlockSize::Max64KB);
        Self {
            plain: Vec::new(),
            frames: FrameEncoder::with_frame_info(frames, Vec::new()),
        }
    }
}

impl Encoder {
    /// Encodes a part.
    ///
    /// # Errors
    /// [`SnapshotError::TooLarge`].
    pub fn encode(&mut self, part: &Part) -> Result<Vec<u8>, SnapshotError> {
        self.plain.clear();
        self.plain = part::encode(part, std::mem::take(&mut self.plain));
        if self.plain.len() > MAX_PART_BYTES {
            return Err(SnapshotError::TooLarge);
        }
        let message = self.frames.get_mut();
        message.reserve(self.plain.len() / 2);
        message.extend_from_slice(&MAGIC);
        message.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
        self.frames
            .write_all(&self.plain)
            .and_then(|()| self.frames.try_finish().map_err(Into::into))
            .map_err(|_| SnapshotError::TooLarge)?;
        let mut message = std::mem::take(self.frames.get_mut());
        let checksum = crc32fast::hash(&message[BEGIN..]);
        message[4..BEGIN].copy_from_slice(&checksum.to_le_bytes());
        Ok(message)
    }
}

/// Decodes a part.
///
/// # Errors
/// [`SnapshotError`] if the message has another format or version, or is damaged.
pub fn decode(message: &[u8]) -> Result<Part, SnapshotError> {
    let Some((&[a, b, c, version, ref checksum @ ..], frame)) =
        message.split_first_chunk::<BEGIN>()
    else {
        return Err(SnapshotError::Foreign);
    };
    if [a, b, c] != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    if *checksum != crc32fast::hash(frame).to_le_bytes() {
        return Err(SnapshotError::Damaged);
    }
    let mut plain = Vec::new();
    FrameDecoder::new(frame)
        .take(MAX_PART_BYTES as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|_| SnapshotError::Damaged)?;
    if plain.len() > MAX_PART_BYTES {
        return Err(SnapshotError::TooLarge);
    }
    part::decode(&plain).ok_or(SnapshotError::Damaged)
}

/// The approximate size of an account in a part before compression, in bytes.
#[must_use]
pub fn size_of(account: &Account) -> usize {
    let metadata = account.streams().iter().flat_map(|s| s.metadata.pairs());
    let metadata: usize = metadata
        .map(|(key, value)| key.len() + value.len() + 2)
        .sum();
    let given = account.tombstones().iter().filter_map(|t| t.given.as_ref());
    let given: usize = given.map(|given| given.as_str().len()).sum();
    let ended = account.tombstones().len() + account.refusals().len();
    64 + 48 * account.streams().len() + 24 * ended + metadata + given
}

#[cfg(test)]
mod tests;
