//! The count of streams toward one limit.

use smallvec::SmallVec;

use super::StreamRecord;
use crate::domain::{Limit, Metadata};

/// Streams of an account, without an allocation for a handful of them.
pub(super) type InlineVec<T> = SmallVec<[T; 8]>;

/// The streams that count toward one limit, by their position among the other streams of the
/// account. The new stream is included.
///
/// A limit counts groups. Without `distinct`, each stream is a group of its own.
pub(super) struct LimitCount {
    /// The position of the limit in the request.
    pub(super) limit: usize,
    max: usize,
    /// The group of each other stream that counts.
    groups: InlineVec<Option<u16>>,
    /// The number of streams in each group; the new stream's group is the first.
    sizes: InlineVec<u16>,
    /// The number of groups that are not empty.
    count: usize,
}

/// The new stream's group.
const OWN: u16 = 0;

impl LimitCount {
    /// Counts toward a limit. `None` if the limit does not apply to a stream with this metadata.
    pub(super) fn new(
        number: usize,
        limit: &Limit,
        metadata: &Metadata,
        others: &[&StreamRecord],
    ) -> Option<Self> {
        if !limit.includes(metadata) {
            return None;
        }
        let mut limit_count = Self {
            limit: number,
            max: usize::try_from(limit.max).unwrap_or(usize::MAX),
            groups: SmallVec::from_elem(None, others.len()),
            sizes: SmallVec::from_elem(1, 1),
            count: 1,
        };
        let counting = others.iter().enumerate();
        let counting = counting.filter(|(_, other)| limit.includes(&other.metadata));
        match &limit.distinct {
            None => counting.for_each(|(n, _)| limit_count.begin(n)),
            Some(key) => {
                let own = metadata.bytes_of(key);
                let valued = counting.map(|(n, other)| (other.metadata.bytes_of(key), n));
                let mut valued: InlineVec<(Option<&[u8]>, usize)> = valued.collect();
                // Equal values become neighbours.
                valued.sort_unstable();
                let mut before = None;
                for (value, n) in valued {
                    if value.is_some() && value == own {
                        limit_count.join(n, OWN);
                    } else if value.is_some() && value == before {
                        limit_count.join(n, limit_count.last());
                    } else {
                        limit_count.begin(n);
                    }
                    before = value;
                }
            }
        }
        Some(limit_count)
    }

    fn begin(&mut self, n: usize) {
        self.sizes.push(0);
        self.count += 1;
        self.join(n, self.last());
    }

    /// The group that was begun last.
    fn last(&self) -> u16 {
        u16::try_from(self.sizes.len() - 1).unwrap_or(u16::MAX)
    }

    fn join(&mut self, n: usize, group: u16) {
        self.groups[n] = Some(group);
        self.sizes[usize::from(group)] += 1;
    }

    /// Whether the limit is exceeded.
    pub(super) const fn is_broken(&self) -> bool {
        self.count > self.max
    }

    /// Whether the end of another stream may help to keep the limit.
    pub(super) fn conflicts_with(&self, n: usize) -> bool {
        self.groups[n].is_some_and(|group| group != OWN)
    }

    /// Stops counting another stream.
    pub(super) fn remove(&mut self, n: usize) {
        if let Some(group) = self.groups[n] {
            let size = &mut self.sizes[usize::from(group)];
            *size -= 1;
            self.count -= usize::from(*size == 0);
        }
    }

    /// Counts another stream again.
    pub(super) fn restore(&mut self, n: usize) {
        if let Some(group) = self.groups[n] {
            let size = &mut self.sizes[usize::from(group)];
            self.count += usize::from(*size == 0);
            *size += 1;
        }
    }
}
