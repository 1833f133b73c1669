//! Metadata of a stream: a few pairs of strings.

mod patch;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

pub use patch::MetadataPatch;

/// Maximum number of pairs in a stream's metadata.
pub const MAX_PAIRS: usize = 16;
/// Maximum length of a key, in bytes.
pub const MAX_KEY_BYTES: usize = 64;
/// Maximum length of a value, in bytes.
pub const MAX_VALUE_BYTES: usize = 256;

/// The reason why metadata is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// More than 16 pairs.
    #[error("metadata has at most {MAX_PAIRS} pairs")]
    TooManyPairs,
    /// A key that is empty or longer than 64 bytes.
    #[error("a metadata key is 1 to {MAX_KEY_BYTES} bytes")]
    Key,
    /// A value longer than 256 bytes.
    #[error("a metadata value is at most {MAX_VALUE_BYTES} bytes")]
    Value,
    /// A duplicate key.
    #[error("metadata has a duplicate key")]
    Twice,
}

/// At most 16 pairs of strings, sorted by their keys. Numbers and booleans are stored as their JSON
/// text.
///
/// A million streams have metadata, so it is one allocation, none if it is empty, and clones
/// share it. Each pair is the key's length in one byte, the value's length in two, then both.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(Arc<[u8]>);

/// An object in JSON, a list of pairs in snapshots.
impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return to.collect_map(self.pairs());
        }
        self.pairs().collect::<Vec<_>>().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let metadata = if from.is_human_readable() {
            let pairs = BTreeMap::<String, String>::deserialize(from)?;
            Self::new(&mut pairs.into_iter().collect::<Vec<_>>())
        } else {
            Self::new(&mut Vec::<(&str, &str)>::deserialize(from)?)
        };
        metadata.map_err(D::Error::custom)
    }
}

impl Metadata {
    /// Packs pairs of any order.
    ///
    /// # Errors
    /// [`MetadataError`] if a limit is exceeded, or a key is a duplicate.
    pub fn new<K: AsRef<str>, V: AsRef<str>>(pairs: &mut [(K, V)]) -> Result<Self, MetadataError> {
        if pairs.len() > MAX_PAIRS {
            return Err(MetadataError::TooManyPairs);
        }
        pairs.sort_unstable_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        if pairs.windows(2).any(|w| w[0].0.as_ref() == w[1].0.as_ref()) {
            return Err(MetadataError::Twice);
        }
        let mut packed = Vec::with_capacity(
            pairs
                .iter()
                .map(|(k, v)| 3 + k.as_ref().len() + v.as_ref().len())
                .sum(),
        );
        for (key, value) in pairs.iter() {
            let (key, value) = (key.as_ref(), value.as_ref());
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                return Err(MetadataError::Key);
            }
            if value.len() > MAX_VALUE_BYTES {
                return Err(MetadataError::Value);
            }
            packed.push(u8::try_from(key.len()).map_err(|_| MetadataError::Key)?);
            let value_len = u16::try_from(value.len()).map_err(|_| MetadataError::Value)?;
            packed.extend_from_slice(&value_len.to_le_bytes());
            packed.extend_from_slice(key.as_bytes());
            packed.extend_from_slice(value.as_bytes());
        }
        Ok(Self(packed.into()))
    }

    /// The pairs, sorted by their keys.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.bytes_of_pairs().map_while(|(key, value)| {
            Some((
                std::str::from_utf8(key).ok()?,
                std::str::from_utf8(value).ok()?,
            ))
        })
    }

    /// The pairs as they are packed.
    fn bytes_of_pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (&[key_len, low, high], after) = rest.split_first_chunk::<3>()?;
            let (key, after) = after.split_at_checked(usize::from(key_len))?;
            let (value, after) =
                after.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
            rest = after;
            Some((key, value))
        })
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes_of(key)?).ok()
    }

    /// The bytes of the value of `key`, which limits compare.
    pub(super) fn bytes_of(&self, key: &str) -> Option<&[u8]> {
        let mut pairs = self.bytes_of_pairs();
        let (found, value) = pairs.find(|(k, _)| *k >= key.as_bytes())?;
        (found == key.as_bytes()).then_some(value)
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its size in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Whether both share one allocation.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

// Metadata may be personal data, so debug output shows only its size.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_by_key() {
        let metadata = Metadata::new(&mut [("device", "tv"), ("channel", "é"), ("x", "")]).unwrap();
        let pairs: Vec<_> = metadata.pairs().collect();
        assert_eq!(pairs, [("channel", "é"), ("device", "tv"), ("x", "")]);
        assert_eq!(metadata.get("device"), Some("tv"));
        for absent in ["asset", "chann", "channels", "z", ""] {
            assert_eq!(metadata.get(absent), None, "{absent}");
        }
        assert!(Metadata::default().pairs().next().is_none());
    }

    #[test]
    fn metadata_beyond_a_limit_is_rejected() {
        let long = "x".repeat(257);
        let of = |k: &str, v: &str| Metadata::new(&mut [(k, v)]).err();
        assert_eq!(of("", "v"), Some(MetadataError::Key));
        assert_eq!(of(&long[..65], "v"), Some(MetadataError::Key));
        assert_eq!(of(&long[..64], &long[..256]), None);
        assert_eq!(of("k", &long), Some(MetadataError::Value));
        let twice = Metadata::new(&mut [("k", "1"), ("k", "2")]);
        assert_eq!(twice.err(), Some(MetadataError::Twice));
        let mut many: Vec<_> = (0..17).map(|i| (i.to_string(), "v")).collect();
        assert_eq!(
            Metadata::new(&mut many).err(),
            Some(MetadataError::TooManyPairs)
        );
    }
}
