//! How far a log has been applied, and whether the log being read is still that log.
//!
//! A queue can be deleted and declared again, and a broker that lost its disk can lose the end of
//! a log. Offsets alone do not show it. So a replica attaches again at the last internal entry that
//! it applied, which carries a unique [`EntryId`], and compares a checksum of the entries after it.

use super::checksum::Checksum;
use crate::domain::{Entry, EntryId, InternalEntry, SnapshotHeader, SnapshotTrailer};

/// The log does not contain the entries that were applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnotherLog;

/// An internal entry and its offset, which identify a log up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) offset: u64,
    pub(super) entry_id: EntryId,
}

impl Anchor {
    fn is(self, offset: u64, entry: Option<&Entry>) -> bool {
        offset == self.offset
            && matches!(entry, Some(Entry::Internal(InternalEntry { entry_id, .. })) if *entry_id == self.entry_id)
    }
}

/// The position of a replica in its log.
#[derive(Debug, Default)]
pub(super) struct LogPosition {
    /// Offset of the first entry that was read; 0 if the log was not truncated.
    pub(super) first: Option<u64>,
    /// Offset of the last entry that was applied.
    pub(super) applied: Option<u64>,
    /// The last internal entry that was applied.
    pub(super) anchor: Option<Anchor>,
    /// Whether the anchor is to be delivered, after the log was attached.
    pub(super) awaits_anchor: bool,
    /// Checksum of the entries applied after the anchor.
    pub(super) checksum: Checksum,
    /// Checksum of the entries that are delivered again after the anchor.
    repeated: Option<Checksum>,
    /// The end of the restored snapshot, until the replica has caught up.
    snapshot_end: Option<SnapshotEnd>,
}

impl LogPosition {
    /// Creates the position of the start of a snapshot.
    pub(super) fn restored(header: &SnapshotHeader, trailer: &SnapshotTrailer) -> Self {
        Self {
            first: Some(header.first),
            applied: Some(header.start),
            anchor: Some(Anchor {
                offset: header.start,
                entry_id: header.entry_id,
            }),
            snapshot_end: Some(SnapshotEnd::new(header.start, trailer)),
            ..Self::default()
        }
    }

    /// Prepares for attaching to the log. Returns the offset to read from; `None` if no entry was
    /// applied.
    pub(super) fn attach(&mut self) -> Option<u64> {
        let anchor = self.anchor?;
        self.awaits_anchor = true;
        self.repeated = (self.applied > Some(anchor.offset)).then(Checksum::default);
        Some(anchor.offset)
    }

    /// Checks the entry delivered at `offset`; `None` if it cannot be decoded. Returns true if it
    /// is the next one to apply, and false if it was applied before.
    ///
    /// # Errors
    /// [`AnotherLog`] if the log does not contain the entries that were applied.
    pub(super) fn advance(
        &mut self,
        offset: u64,
        entry: Option<&Entry>,
    ) -> Result<bool, AnotherLog> {
        self.check_anchor(offset, entry)?;
        if self.applied.is_some_and(|applied| offset <= applied) {
            return self.repeat(offset, entry).map(|()| false);
        }
        if self.repeated.is_some() {
            return Err(AnotherLog);
        }
        match entry {
            Some(Entry::Internal(InternalEntry { entry_id, .. })) => {
                self.checksum = Checksum::default();
                self.anchor = Some(Anchor {
                    offset,
                    entry_id: *entry_id,
                });
            }
            _ => self.checksum.add(offset, entry),
        }
        if let Some(end) = &mut self.snapshot_end {
            end.advance(offset, entry, self.checksum)?;
        }
        self.first.get_or_insert(offset);
        self.applied = Some(offset);
        Ok(true)
    }

    /// Records that RabbitMQ cannot deliver the entry at `offset` here. Another replica may read
    /// it, so no checksum that includes it can be compared.
    pub(super) fn lose(&mut self, offset: u64) {
        if self.anchor.is_none_or(|anchor| offset > anchor.offset) {
            self.checksum = Checksum::UNKNOWN;
        }
    }

    /// Checks the anchor. Deliveries start at a chunk, so entries before the anchor may come first.
    fn check_anchor(&mut self, offset: u64, entry: Option<&Entry>) -> Result<(), AnotherLog> {
        if let (true, Some(anchor)) = (self.awaits_anchor, self.anchor)
            && offset >= anchor.offset
        {
            if !anchor.is(offset, entry) {
                return Err(AnotherLog);
            }
            self.awaits_anchor = false;
        }
        Ok(())
    }

    /// Compares an entry that was applied and is delivered again.
    fn repeat(&mut self, offset: u64, entry: Option<&Entry>) -> Result<(), AnotherLog> {
        let behind = self.anchor.is_some_and(|anchor| offset > anchor.offset);
        let (true, Some(repeated)) = (behind, &mut self.repeated) else {
            return Ok(());
        };
        if matches!(entry, Some(Entry::Internal(_))) {
            return Err(AnotherLog);
        }
        repeated.add(offset, entry);
        if self.applied == Some(offset) {
            let same = repeated.agrees(self.checksum);
            self.repeated = None;
            return if same { Ok(()) } else { Err(AnotherLog) };
        }
        Ok(())
    }

    /// Whether the log was read from its first entry on.
    pub(super) fn has_beginning(&self) -> bool {
        self.first == Some(0)
    }

    /// Whether a snapshot was restored and the replica has not caught up since.
    pub(super) const fn is_restoring(&self) -> bool {
        self.snapshot_end.is_some()
    }

    /// Records that the replica has read all of the log.
    ///
    /// # Errors
    /// [`AnotherLog`] if the log ends before the restored snapshot: a broker has lost the end of
    /// the log, and the snapshot contains lost entries.
    pub(super) fn caught_up(&mut self) -> Result<(), AnotherLog> {
        match self.snapshot_end.take() {
            Some(end) if !end.is_reached() => Err(AnotherLog),
            _ => Ok(()),
        }
    }
}

/// The end of a restored snapshot, and which of its last entries were found in the log.
#[derive(Clone, Copy, Debug)]
struct SnapshotEnd {
    /// Offset of the last entry in the snapshot.
    end: u64,
    /// The last internal entry up to `end`.
    anchor: Anchor,
    /// Checksum of the entries after `anchor`, up to `end`.
    checksum: Checksum,
    has_anchor: bool,
    has_end: bool,
}

impl SnapshotEnd {
    fn new(start: u64, trailer: &SnapshotTrailer) -> Self {
        Self {
            end: trailer.end,
            anchor: Anchor {
                offset: trailer.last,
                entry_id: trailer.last_entry_id,
            },
            checksum: Checksum(trailer.trail),
            has_anchor: trailer.last == start,
            has_end: trailer.end == start,
        }
    }

    const fn is_reached(&self) -> bool {
        self.has_anchor && self.has_end
    }

    /// Checks an entry that is applied. `checksum` is that of the entries after the last internal
    /// one, this one included.
    fn advance(
        &mut self,
        offset: u64,
        entry: Option<&Entry>,
        checksum: Checksum,
    ) -> Result<(), AnotherLog> {
        if offset == self.anchor.offset {
            self.has_anchor = self.anchor.is(offset, entry);
        }
        if offset == self.end {
            self.has_end = checksum.agrees(self.checksum);
        }
        let holds =
            (self.has_anchor || offset < self.anchor.offset) && (self.has_end || offset < self.end);
        if holds { Ok(()) } else { Err(AnotherLog) }
    }
}
