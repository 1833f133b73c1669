//! The decision whether a stream is admitted, and which streams end for it.

use smallvec::SmallVec;

use super::{
    Account, StreamRecord,
    limit_count::{InlineVec, LimitCount},
};
use crate::domain::{
    Conflict, MAX_CONFLICTS, Metadata, Moment, OnLimit, Open, RefusedReason, StreamId, Terms,
};

/// Streams that end for an admitted one, besides those that its request names.
pub(super) type Ended = Vec<StreamId>;

/// The other streams of an account, as far as they may count toward the limits of a request.
struct Others<'a> {
    /// Active streams that neither end by `replace` nor by `same`, the oldest first.
    rest: InlineVec<&'a StreamRecord>,
    /// Active streams that end by `same`, the oldest first.
    same: Ended,
}

impl Account {
    /// Checks the limits for a stream. Returns the active streams that end for it.
    pub(super) fn admit(&self, moment: &Moment, open: &Open) -> Result<Ended, RefusedReason> {
        let now = moment.now;
        if self.tombstone(open.stream, now).is_some() {
            return Err(RefusedReason::Stopped);
        }
        let own = self.active(open.stream, now);
        if own.is_some_and(|s| s.ttl_and_admission.is_admitted()) {
            return Ok(Ended::new()); // a retry
        }
        let (others, ended) = match open.terms.as_deref() {
            None => (self.count_others(moment, open), Ended::new()),
            Some(terms) => self.evaluate_terms(moment, open, terms)?,
        };
        let with_it = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        if open.terms.is_none() && open.max_active.is_some_and(|max| with_it > max) {
            return Err(RefusedReason::MaxActive);
        }
        if with_it > moment.settings.max_streams_per_account
            || (own.is_none() && self.room(moment) == 0)
        {
            return Err(RefusedReason::AccountCap);
        }
        // An active stream, or one that replaces another, needs no further capacity.
        let grows = own.is_none() && others == self.count(now);
        if moment.full && grows {
            return Err(RefusedReason::OverCapacity);
        }
        Ok(ended)
    }

    /// The number of active streams beside a new one.
    fn count_others(&self, moment: &Moment, open: &Open) -> usize {
        let stays = |s: &&StreamRecord| s.id != open.stream && !open.replace.contains(&s.id);
        self.all_active(moment.now).filter(stays).count()
    }

    /// Decides by the terms of a request. Returns the number of active streams beside the new one,
    /// and the streams that end for it.
    fn evaluate_terms(
        &self,
        moment: &Moment,
        open: &Open,
        terms: &Terms,
    ) -> Result<(usize, Ended), RefusedReason> {
        let Others { rest, same } = self.others(moment, open);
        let mut counts = self.limit_counts(moment, open, &rest);
        let mut ended = same;
        if !counts.iter().any(LimitCount::is_broken) {
            return Ok((rest.len(), ended));
        }
        if terms.on_limit == OnLimit::Refuse {
            return Err(match open.max_active {
                Some(_) => RefusedReason::MaxActive,
                None => RefusedReason::Limits,
            });
        }
        let oldest = oldest_in_the_way(&mut counts, rest.len());
        let left = rest.len() - oldest.len();
        ended.extend(oldest.into_iter().map(|n| rest[n].id));
        Ok((left, ended))
    }

    fn others(&self, moment: &Moment, open: &Open) -> Others<'_> {
        let metadata = self.metadata_after(moment, open);
        let (mut rest, mut same) = (InlineVec::new(), Ended::new());
        for stream in self.all_active(moment.now) {
            if stream.id == open.stream || open.replace.contains(&stream.id) {
                continue;
            }
            let terms = open.terms.as_deref();
            if terms.is_some_and(|terms| terms.are_same(metadata, &stream.metadata)) {
                same.push(stream.id);
            } else {
                rest.push(stream);
            }
        }
        Others { rest, same }
    }

    /// The metadata of a stream once its request is admitted.
    fn metadata_after<'a>(&'a self, moment: &Moment, open: &'a Open) -> &'a Metadata {
        let own = self.active(open.stream, moment.now);
        match own.filter(|_| open.metadata.is_empty()) {
            Some(own) => &own.metadata,
            None => &open.metadata,
        }
    }

    fn limit_counts(
        &self,
        moment: &Moment,
        open: &Open,
        rest: &[&StreamRecord],
    ) -> InlineVec<LimitCount> {
        let metadata = self.metadata_after(moment, open);
        let limits = open.limits();
        let counts = limits.iter().enumerate();
        counts
            .filter_map(|(n, limit)| LimitCount::new(n, limit, metadata, rest))
            .collect()
    }

    /// The limits that a stream would exceed, with the streams in its way.
    #[must_use]
    pub fn conflicts(&self, moment: &Moment, open: &Open) -> Vec<Conflict> {
        let Others { rest, .. } = self.others(moment, open);
        let counts = self.limit_counts(moment, open, &rest);
        let broken = counts.iter().filter(|it| it.is_broken());
        let conflicts = broken.map(|it| {
            let in_the_way = (0..rest.len()).filter(|n| it.conflicts_with(*n));
            Conflict {
                limit: it.limit,
                streams: in_the_way.take(MAX_CONFLICTS).map(|n| rest[n].id).collect(),
            }
        });
        conflicts.collect()
    }
}

/// Chooses streams whose end makes all limits hold, by their position among `count` streams.
///
/// From the oldest on, each one that conflicts with an exceeded limit is chosen. Then, from the
/// youngest on, each one is spared that is not needed any more: the end of a later one, which
/// counts toward several limits, or whose whole group ends, may have sufficed.
fn oldest_in_the_way(counts: &mut [LimitCount], count: usize) -> InlineVec<usize> {
    let mut chosen: InlineVec<usize> = SmallVec::new();
    for n in 0..count {
        if !counts.iter().any(LimitCount::is_broken) {
            break;
        }
        let helps = |it: &LimitCount| it.is_broken() && it.conflicts_with(n);
        if counts.iter().any(helps) {
            counts.iter_mut().for_each(|it| it.remove(n));
            chosen.push(n);
        }
    }
    let mut needed: InlineVec<usize> = SmallVec::new();
    for n in chosen.into_iter().rev() {
        counts.iter_mut().for_each(|it| it.restore(n));
        if counts.iter().any(LimitCount::is_broken) {
            counts.iter_mut().for_each(|it| it.remove(n));
            needed.push(n);
        }
    }
    needed.reverse();
    needed
}
