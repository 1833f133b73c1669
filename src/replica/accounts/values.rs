//! Counts of each tenant's active streams by the values of metadata keys, updated with each change.

mod value_counts;

use std::collections::HashMap;

use compact_str::CompactString;
use smallvec::SmallVec;

use super::slots::{Slot, SlotId};
use crate::domain::{Metadata, Settings, ValueCounts};
use value_counts::Values;

/// The metadata of an account's counted streams, which shares its memory with them.
pub(super) type CountedMetadata = SmallVec<[Metadata; 2]>;

/// The counts of a partition.
#[derive(Debug, Default)]
pub(in crate::replica) struct ValueIndex {
    keys: Vec<String>,
    tenants: HashMap<CompactString, Vec<Values>>,
    /// After a change of the keys: the first slot that has not been counted. `None` if all have.
    uncounted: Option<usize>,
}

impl ValueIndex {
    /// Counts by other keys from now on. The accounts in existing slots, of which there are
    /// `slots`, are counted by [`Self::count_slot`].
    pub(super) fn count_by(&mut self, keys: &[String], slots: usize) {
        let keys = &keys[..keys.len().min(Settings::MAX_COUNT_BY)];
        if self.keys != keys {
            *self = Self {
                keys: keys.to_vec(),
                tenants: HashMap::new(),
                uncounted: (!keys.is_empty() && slots > 0).then_some(0),
            };
        }
    }

    /// The first slot that has not been counted, if any.
    pub(in crate::replica) const fn uncounted(&self) -> Option<usize> {
        self.uncounted
    }

    /// Counts the account in the first slot that has not been counted; `None` if there is none.
    pub(super) fn count_slot(&mut self, slot: Option<&Slot>) {
        self.uncounted = self.uncounted.zip(slot).map(|(place, slot)| {
            self.count(slot.key.tenant(), &[], &counted(slot));
            place + 1
        });
    }

    /// Counts the account that has moved from one slot to another, if only the former slots up to
    /// the new one have been counted.
    pub(super) fn moved(&mut self, from: SlotId, to: SlotId, slot: &Slot) {
        if self.has_counted(to) && !self.has_counted(from) {
            self.count(slot.key.tenant(), &[], &counted(slot));
        }
    }

    /// The metadata by which the account in slot `id` has been counted.
    pub(super) fn before(&self, id: SlotId, slot: &Slot) -> CountedMetadata {
        if self.has_counted(id) {
            counted(slot)
        } else {
            CountedMetadata::new()
        }
    }

    /// Counts the account in slot `id`, which has been counted by `before`, again.
    pub(super) fn change(&mut self, id: SlotId, before: &CountedMetadata, slot: &Slot) {
        if self.has_counted(id) {
            self.count(slot.key.tenant(), before, &counted(slot));
        }
    }

    fn has_counted(&self, id: SlotId) -> bool {
        !self.keys.is_empty() && self.uncounted.is_none_or(|first| id.place() < first)
    }

    fn count(&mut self, tenant: &str, before: &[Metadata], after: &[Metadata]) {
        // Most changes are heartbeats, which change no metadata.
        if before == after {
            return;
        }
        if !self.tenants.contains_key(tenant) {
            let none = self.keys.iter().map(|_| Values::default()).collect();
            self.tenants.insert(tenant.into(), none);
        }
        let Some(of_tenant) = self.tenants.get_mut(tenant) else {
            return;
        };
        for (key, values) in self.keys.iter().zip(&mut *of_tenant) {
            before
                .iter()
                .filter_map(|metadata| metadata.get(key))
                .for_each(|value| values.remove(value));
            after
                .iter()
                .filter_map(|metadata| metadata.get(key))
                .for_each(|value| values.add(value));
        }
        if of_tenant.iter().all(Values::is_empty) {
            self.tenants.remove(tenant);
        }
    }

    pub(in crate::replica) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The counts of a tenant by one of the keys.
    pub(in crate::replica) fn of(&self, tenant: &str, key: &str) -> ValueCounts {
        let place = self.keys.iter().position(|counted| counted == key);
        let values = place.and_then(|place| self.tenants.get(tenant)?.get(place));
        values.map_or_else(ValueCounts::default, Values::sorted)
    }
}

/// The metadata of the streams that were active when the account was last updated: since then, no
/// deadline has passed without an update.
fn counted(slot: &Slot) -> CountedMetadata {
    let updated = crate::domain::LogTime(slot.due.0.saturating_sub(1));
    slot.account.active_metadata(updated).cloned().collect()
}
