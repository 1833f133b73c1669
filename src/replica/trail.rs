//! The entries behind the last marked one: they have no mark of their own, so their sum tells
//! whether the log still holds the same.

use crc32fast::Hasher;

use crate::domain::{Entry, Metadata};

/// The sum of entries of which one is not known: it is taken for any other.
const UNKNOWN: u32 = u32::MAX;

/// Two sums may be of the same entries.
pub(super) const fn agree(one: u32, other: u32) -> bool {
    one == other || one == UNKNOWN || other == UNKNOWN
}

/// A checksum of the entries applied behind the last marked one; 0 where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trail {
    sum: u32,
    /// Of those that come again, while the log is read from the last marked entry on.
    again: Option<u32>,
}

impl Trail {
    pub(super) const fn sum(self) -> u32 {
        self.sum
    }

    /// The next entry is not known here; another replica may know it.
    pub(super) const fn lose(&mut self) {
        self.sum = UNKNOWN;
    }

    /// The log will be read again from the last marked entry on, behind which `some` were applied.
    pub(super) fn reread(&mut self, some: bool) {
        self.again = some.then_some(0);
    }

    /// An entry that was applied comes again; `last` is that of the last one applied. Returns false
    /// where the log holds others than were applied.
    pub(super) fn repeats(&mut self, offset: u64, entry: Option<&Entry>, last: bool) -> bool {
        let Some(again) = &mut self.again else {
            return true;
        };
        if matches!(entry, Some(Entry::Internal { .. })) {
            return false;
        }
        *again = add(*again, offset, entry);
        let same = agree(*again, self.sum);
        if last {
            self.again = None;
        }
        same || !last
    }

    /// An entry is applied for the first time. Returns false where not all that were applied before
    /// it have come again.
    pub(super) fn goes_on(&mut self, offset: u64, entry: Option<&Entry>) -> bool {
        self.sum = match entry {
            Some(Entry::Internal { .. }) => 0,
            _ if self.sum == UNKNOWN => UNKNOWN,
            _ => add(self.sum, offset, entry),
        };
        self.again.is_none()
    }
}

fn add(sum: u32, offset: u64, entry: Option<&Entry>) -> u32 {
    let mut hasher = Hasher::new_with_initial(sum);
    hasher.update(&offset.to_le_bytes());
    let (kind, key, stream, every_ms, metadata) = match entry {
        Some(Entry::Heartbeat {
            key,
            stream,
            every_ms,
            metadata,
        }) => (1, key, stream, *every_ms, metadata.as_ref()),
        Some(Entry::Stop { key, stream }) => (2, key, stream, None, None),
        Some(Entry::Internal { .. }) | None => return hasher.finalize(),
    };
    for (name, value) in metadata.into_iter().flat_map(Metadata::pairs) {
        hasher.update(name.as_bytes());
        hasher.update(value.as_bytes());
    }
    hasher.update(&[kind]);
    hasher.update(&every_ms.unwrap_or(0).to_le_bytes());
    hasher.update(stream.0.as_bytes());
    hasher.update(key.as_str().as_bytes());
    hasher.finalize()
}
