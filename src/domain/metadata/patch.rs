//! Changes of a stream's metadata by a heartbeat.

use super::{MAX_PAIRS, Metadata, MetadataError};

/// A change of a stream's metadata: a JSON Merge Patch (RFC 7396).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataPatch {
    /// Pairs of strings. Rules version 1 accepts only these, and replaces all metadata by them.
    Strings(Metadata),
    /// Pairs to set, with numbers or booleans among them, and keys to remove.
    Merge(Box<Merge>),
    /// The message contained metadata that is not acceptable. It changes nothing.
    Invalid,
}

/// Pairs to set and keys to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    set: Metadata,
    removed: Vec<Box<str>>,
}

impl MetadataPatch {
    /// Creates a patch that sets `set` and removes the keys `removed`, which are others.
    ///
    /// # Errors
    /// [`MetadataError::TooManyPairs`] if there are more than 16 keys together.
    pub fn merge(set: Metadata, removed: Vec<Box<str>>) -> Result<Self, MetadataError> {
        if set.pairs().count() + removed.len() > MAX_PAIRS {
            return Err(MetadataError::TooManyPairs);
        }
        Ok(Self::Merge(Box::new(Merge { set, removed })))
    }

    /// Whether rules version 1 accepts it.
    #[must_use]
    pub const fn is_strings(&self) -> bool {
        matches!(self, Self::Strings(_))
    }

    /// The pairs to set.
    #[must_use]
    pub fn set(&self) -> Option<&Metadata> {
        match self {
            Self::Strings(set) => Some(set),
            Self::Merge(merge) => Some(&merge.set),
            Self::Invalid => None,
        }
    }

    /// The keys to remove.
    #[must_use]
    pub fn removed(&self) -> &[Box<str>] {
        match self {
            Self::Merge(merge) => &merge.removed,
            Self::Strings(_) | Self::Invalid => &[],
        }
    }

    /// Merges it into `metadata`. Returns the result, or `None` if it is equal.
    ///
    /// # Errors
    /// If the patch is not acceptable, or the result would have more than 16 pairs.
    pub fn apply(&self, metadata: &Metadata) -> Result<Option<Metadata>, MetadataError> {
        let set = self.set().ok_or(MetadataError::Value)?;
        if self.removed().is_empty() {
            if set.is_empty() || set == metadata {
                return Ok(None);
            }
            if metadata.is_empty() {
                return Ok(Some(set.clone()));
            }
        }
        let changed = |key| set.get(key).is_some() || self.removed().iter().any(|k| **k == *key);
        let kept = metadata.pairs().filter(|(key, _)| !changed(key));
        let mut pairs: Vec<_> = kept.chain(set.pairs()).collect();
        let merged = Metadata::new(&mut pairs)?;
        Ok((merged != *metadata).then_some(merged))
    }
}

impl From<Metadata> for MetadataPatch {
    fn from(set: Metadata) -> Self {
        Self::Strings(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Metadata {
        Metadata::new(&mut pairs.to_vec()).unwrap()
    }

    fn merge(set: &[(&str, &str)], removed: &[&str]) -> MetadataPatch {
        let removed = removed.iter().map(|key| (*key).into()).collect();
        MetadataPatch::merge(of(set), removed).unwrap()
    }

    #[test]
    fn a_key_replaces_null_removes_and_absent_keys_stay() {
        let before = of(&[("channel", "1"), ("device", "tv"), ("state", "paused")]);
        let patch = merge(&[("channel", "2"), ("kind", "live")], &["state", "unknown"]);
        let after = of(&[("channel", "2"), ("device", "tv"), ("kind", "live")]);
        assert_eq!(patch.apply(&before), Ok(Some(after.clone())));
        assert_eq!(patch.apply(&after), Ok(None));
        let strings = MetadataPatch::from(of(&[("device", "phone")]));
        let merged = of(&[("channel", "1"), ("device", "phone"), ("state", "paused")]);
        assert_eq!(strings.apply(&before), Ok(Some(merged)));
    }

    #[test]
    fn a_patch_without_a_change_keeps_the_shared_metadata() {
        let before = of(&[("device", "tv"), ("kind", "live")]);
        for same in [
            merge(&[], &[]),
            merge(&[("device", "tv")], &["state"]),
            MetadataPatch::from(before.clone()),
        ] {
            assert_eq!(same.apply(&before), Ok(None), "{same:?}");
        }
        let first = MetadataPatch::from(before.clone());
        let set = first.apply(&Metadata::default()).unwrap().unwrap();
        assert!(set.is_same(first.set().unwrap()));
        let all = merge(&[], &["device", "kind"]).apply(&before);
        assert_eq!(all, Ok(Some(Metadata::default())));
    }

    #[test]
    fn a_patch_beyond_a_limit_changes_nothing() {
        let many: Vec<_> = (0..16).map(|n| (n.to_string(), "v")).collect();
        let full = Metadata::new(&mut many.clone()).unwrap();
        let one_more = merge(&[("x", "y")], &[]);
        assert_eq!(one_more.apply(&full), Err(MetadataError::TooManyPairs));
        assert!(merge(&[("x", "y")], &["0"]).apply(&full).unwrap().is_some());
        assert!(MetadataPatch::Invalid.apply(&full).is_err());
        let removed = vec!["x".into()];
        let too_many = MetadataPatch::merge(full, removed);
        assert_eq!(too_many, Err(MetadataError::TooManyPairs));
    }
}
