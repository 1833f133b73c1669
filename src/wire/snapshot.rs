//! Snapshots: a copy of a replica, as messages of the partition's snapshot log.
//!
//! A snapshot is a header, parts with accounts, parts with buffered lifecycle events, and a
//! trailer: messages with the snapshot's id, numbered from 0. Each contains the offsets of its own
//! snapshot and of the complete one before it, so that a reader can start at any message.
//!
//! A message is `SWS`, one byte for the version of the format, the CRC-32 of the rest in four
//! bytes, and an LZ4 frame. A reader rejects other versions.

mod account;
mod announcement;
mod codes;
mod counters;
mod part;

use std::io::{Read, Write};

use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use uuid::Uuid;

use crate::domain::{Account, AccountKey, Announcement, LogTime, SnapshotHeader, SnapshotTrailer};

/// Most bytes of a part before it is compressed: the largest account there may be fits, and the
/// message fits into the 16 MiB that RabbitMQ takes.
pub const MAX_PART_BYTES: usize = 15 * 1024 * 1024;

const MAGIC: [u8; 3] = *b"SWS";
const VERSION: u8 = 1;
/// The frame begins here.
const BEGIN: usize = 8;

/// Why a message is no part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It does not begin as one.
    #[error("this is no part of a snapshot")]
    Foreign,
    /// It was written by another version of this program.
    #[error("the snapshot has the unknown format {0}")]
    Version(u8),
    /// It is cut off or changed.
    #[error("a part of the snapshot is damaged")]
    Damaged,
    /// It is longer than 15 MiB.
    #[error("a part of the snapshot is too large")]
    TooLarge,
}

/// Where a snapshot lies in the snapshot log, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which snapshot.
    pub id: Uuid,
    /// It begins behind this offset of the snapshot log; `None`: anywhere.
    pub after: Option<u64>,
    /// Log time when it began.
    pub now: LogTime,
}

/// One message of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its snapshot.
    pub place: Place,
    /// The whole snapshot before it, if there was one.
    pub before: Option<Place>,
    /// Its number among the snapshot's messages; the header is 0.
    pub number: u32,
    /// Its content.
    pub content: PartContent,
}

/// The content of a message of a snapshot.
#[allow(
    clippy::large_enum_variant,
    reason = "there are a few at a time, and one trailer in a snapshot"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartContent {
    /// The first.
    Header(SnapshotHeader),
    /// Accounts, each with the offset of its last entry.
    Accounts(Vec<(AccountKey, u64, Account)>),
    /// Buffered lifecycle events, in order.
    Unannounced(Vec<Announcement>),
    /// The last.
    Trailer(SnapshotTrailer),
}

/// Encodes parts one after another in the same buffers, because new buffers for each part would be
/// allocated and freed by the system each time.
pub struct Encoder {
    plain: Vec<u8>,
    frames: FrameEncoder<Vec<u8>>,
}

impl Default for Encoder {
    fn default() -> Self {
        // Parts are seldom larger; else the first one's size would be every one's.
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

/// Encodes a part on its own.
///
/// # Errors
/// [`SnapshotError::TooLarge`].
pub fn encode(part: &Part) -> Result<Vec<u8>, SnapshotError> {
    Encoder::default().encode(part)
}

/// Decodes a part.
///
/// # Errors
/// Where it is none, is damaged, or of a version that is not known.
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

/// About how many bytes an account takes up in a part, before it is compressed.
#[must_use]
pub fn size_of(account: &Account) -> usize {
    let said = account.streams().iter().flat_map(|s| s.metadata.pairs());
    let said: usize = said.map(|(key, value)| key.len() + value.len() + 2).sum();
    let ended = account.tombstones().len() + account.refusals().len();
    64 + 48 * account.streams().len() + 24 * ended + said
}

#[cfg(test)]
mod tests;
