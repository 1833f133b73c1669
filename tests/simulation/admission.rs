//! Checks of decisions on proposals.

use std::collections::{BTreeMap, BTreeSet};

use streamwatch::domain::{
    Account, ActiveStream, Limit, LogTime, Metadata, Open, StreamId, WallShift,
};

/// A decision: the active streams of the account before and after it.
pub struct Decided<'a> {
    open: &'a Open,
    /// Without the streams that were too old.
    before: BTreeMap<StreamId, ActiveStream>,
    after: BTreeMap<StreamId, ActiveStream>,
    /// The metadata of the stream.
    metadata: Metadata,
}

impl<'a> Decided<'a> {
    pub fn new(
        open: &'a Open,
        at: LogTime,
        before: &Account,
        after: &Account,
        too_old: &[StreamId],
    ) -> Self {
        let active = |account: &Account| -> BTreeMap<StreamId, ActiveStream> {
            let activity = account.activity(&open.key, at, WallShift::default());
            let streams = activity.streams.into_iter();
            streams.map(|s| (s.stream, s)).collect()
        };
        let (mut before, after) = (active(before), active(after));
        before.retain(|id, _| !too_old.contains(id));
        let own = before
            .get(&open.stream)
            .filter(|_| open.metadata.is_empty());
        let metadata = own.map_or(&open.metadata, |own| &own.metadata).clone();
        Self {
            open,
            before,
            after,
            metadata,
        }
    }

    /// Checks that no stream changed.
    pub fn changes_nothing(&self) {
        let ids = |all: &BTreeMap<StreamId, ActiveStream>| -> BTreeMap<StreamId, bool> {
            all.iter().map(|(id, s)| (*id, s.admitted)).collect()
        };
        let (before, after) = (ids(&self.before), ids(&self.after));
        assert_eq!(before, after, "something changed: {:?}", self.open);
    }

    /// Checks that exactly these streams ended, that all limits hold, and that each end was needed.
    pub fn is_exact(&self, replaced: &[StreamId]) {
        let open = self.open;
        let own = self.before.get(&open.stream);
        let is_retry = own.is_some_and(|own| own.admitted);
        let mut expected: BTreeSet<StreamId> = self.before.keys().copied().collect();
        for id in replaced {
            assert!(expected.remove(id), "{id} was not active: {open:?}");
        }
        assert_eq!(expected.contains(&open.stream), own.is_some());
        expected.insert(open.stream);
        let after: BTreeSet<StreamId> = self.after.keys().copied().collect();
        assert_eq!(after, expected, "{open:?}");
        assert!(self.after[&open.stream].admitted);
        for id in &open.replace {
            assert!(!after.contains(id), "{id} was to be replaced");
        }
        let stay = |id: &StreamId| *id != open.stream && !replaced.contains(id);
        let stay: Vec<StreamId> = self.before.keys().copied().filter(stay).collect();
        assert!(is_retry || !self.is_broken(&stay), "too many: {open:?}");
        for id in replaced.iter().filter(|id| !open.replace.contains(id)) {
            let with_it: Vec<_> = stay.iter().copied().chain([*id]).collect();
            let needed = self.is_same(*id) || self.is_broken(&with_it);
            assert!(needed, "{id} ended for nothing: {open:?}");
        }
    }

    /// Checks that a limit would be exceeded.
    pub fn is_refused_for_a_reason(&self) {
        let open = self.open;
        let own = self.before.get(&open.stream);
        assert!(own.is_none_or(|own| !own.admitted), "a retry: {open:?}");
        let stays =
            |id: &StreamId| *id != open.stream && !open.replace.contains(id) && !self.is_same(*id);
        let stay: Vec<StreamId> = self.before.keys().copied().filter(stays).collect();
        assert!(self.is_broken(&stay), "refused for no reason: {open:?}");
    }

    fn is_same(&self, id: StreamId) -> bool {
        let keys = self.open.terms.iter().flat_map(|terms| &terms.same);
        let mut agree = keys.map(|key| {
            let (one, other) = (self.metadata.get(key), self.before[&id].metadata.get(key));
            one.is_some() && one == other
        });
        agree
            .next()
            .is_some_and(|first| first && agree.all(|it| it))
    }

    /// Whether a limit is exceeded by the stream with these others.
    fn is_broken(&self, others: &[StreamId]) -> bool {
        let open = self.open;
        let short = open.max_active.map(Limit::of_all);
        let listed = open.terms.iter().flat_map(|terms| &terms.limits);
        let mut limits = short.iter().chain(listed);
        limits.any(|limit| {
            let own = (open.stream, &self.metadata);
            let others = others.iter().map(|id| (*id, &self.before[id].metadata));
            let all: Vec<_> = others.chain([own]).collect();
            let counting = all.iter().filter(|(_, metadata)| counts(limit, metadata));
            let values: BTreeSet<_> = counting
                .map(|(id, metadata)| {
                    let value = limit.distinct.as_ref().and_then(|key| metadata.get(key));
                    value.ok_or(*id)
                })
                .collect();
            counts(limit, &self.metadata) && values.len() > limit.max as usize
        })
    }
}

fn counts(limit: &Limit, metadata: &Metadata) -> bool {
    limit.conditions.iter().all(|condition| {
        let value = metadata.get(&condition.key);
        value.is_some_and(|value| condition.values.iter().any(|one| **one == *value))
    })
}
