//! The naive count of streams toward the limits of a request. Every question counts all of them.

use std::collections::BTreeSet;

use streamwatch::domain::{Limit, Metadata, Open, StreamId};

use crate::naive::Active;

pub struct Weighing {
    limits: Vec<Limit>,
    metadata: Metadata,
    /// The streams that end because they agree with the new one.
    pub same: Vec<StreamId>,
    /// The other streams, the oldest first.
    rest: Vec<Active>,
}

impl Weighing {
    pub fn new(open: &Open, active: &[Active]) -> Self {
        let own = active.iter().find(|s| s.stream == open.stream);
        let metadata = match own {
            Some(own) if open.metadata.is_empty() => own.metadata.clone(),
            _ => open.metadata.clone(),
        };
        let terms = open.terms.as_deref().cloned().unwrap_or_default();
        let limits = match open.max_active {
            Some(max) => vec![Limit::of_all(max)],
            None => terms.limits,
        };
        let stays = |s: &&Active| s.stream != open.stream && !open.replace.contains(&s.stream);
        let agrees = |s: &Active| {
            let values = terms
                .same
                .iter()
                .map(|key| (metadata.get(key), s.metadata.get(key)));
            let mut values = values.peekable();
            values.peek().is_some() && values.all(|(one, other)| one.is_some() && one == other)
        };
        let others = active.iter().filter(stays).cloned();
        let (same, rest): (Vec<Active>, Vec<Active>) = others.partition(agrees);
        Self {
            same: same.into_iter().map(|s| s.stream).collect(),
            rest,
            limits,
            metadata,
        }
    }

    fn includes(limit: &Limit, metadata: &Metadata) -> bool {
        limit.conditions.iter().all(|condition| {
            let value = metadata.get(&condition.key);
            value.is_some_and(|value| condition.values.iter().any(|one| **one == *value))
        })
    }

    /// The value by which a stream counts toward a limit, or its id.
    fn value(limit: &Limit, metadata: &Metadata, id: StreamId) -> Result<String, StreamId> {
        let value = limit.distinct.as_ref().and_then(|key| metadata.get(key));
        value.map(ToOwned::to_owned).ok_or(id)
    }

    fn is_broken(&self, limit: &Limit, ended: &[StreamId]) -> bool {
        if !Self::includes(limit, &self.metadata) {
            return false;
        }
        let new = StreamId(uuid::Uuid::max());
        let mut values = BTreeSet::from([Self::value(limit, &self.metadata, new)]);
        for stream in &self.rest {
            if !ended.contains(&stream.stream) && Self::includes(limit, &stream.metadata) {
                values.insert(Self::value(limit, &stream.metadata, stream.stream));
            }
        }
        values.len() > limit.max as usize
    }

    /// The positions of the limits that are exceeded once these streams have ended.
    pub fn broken(&self, ended: &[StreamId]) -> Vec<usize> {
        let limits = self.limits.iter().enumerate();
        let broken = limits.filter(|(_, limit)| self.is_broken(limit, ended));
        broken.map(|(n, _)| n).collect()
    }

    /// The streams that count toward a limit by another value than the new one.
    pub fn in_the_way(&self, limit: usize) -> Vec<StreamId> {
        let limit = &self.limits[limit];
        let new = StreamId(uuid::Uuid::max());
        let own = Self::value(limit, &self.metadata, new);
        let rest = self.rest.iter().filter(|s| {
            let value = Self::value(limit, &s.metadata, s.stream);
            Self::includes(limit, &s.metadata) && value != own
        });
        rest.map(|s| s.stream).collect()
    }

    /// The oldest streams whose end makes all limits hold, without those whose end is not needed.
    pub fn oldest_in_the_way(&self) -> Vec<StreamId> {
        let mut ended: Vec<StreamId> = Vec::new();
        loop {
            let broken = self.broken(&ended);
            let helps = |s: &&Active| {
                let stays = !ended.contains(&s.stream);
                stays
                    && broken
                        .iter()
                        .any(|n| self.in_the_way(*n).contains(&s.stream))
            };
            match self.rest.iter().find(helps) {
                Some(oldest) => ended.push(oldest.stream),
                None => break,
            }
        }
        for stream in ended.clone().into_iter().rev() {
            let without: Vec<_> = ended.iter().copied().filter(|s| *s != stream).collect();
            if self.broken(&without).is_empty() {
                ended = without;
            }
        }
        ended
    }
}
