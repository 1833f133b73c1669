//! The reason that a sender gives for ending streams.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Maximum length of a given reason, in bytes.
pub const MAX_REASON_BYTES: usize = 64;

/// The reason why a text cannot be given as a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reason is 1 to {MAX_REASON_BYTES} bytes of UTF-8 without control characters")]
pub struct ReasonError;

/// The reason that the sender of a `stop` or an `init` gives for ending streams: 1 to 64 bytes
/// without control characters.
///
/// Records of ended streams have it, and most of them have none: so it is one pointer, and all
/// records of one entry share its text.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenReason(Arc<CompactString>);

impl GivenReason {
    /// Checks a text.
    ///
    /// # Errors
    /// [`ReasonError`] if it is empty, too long, or contains a control character.
    pub fn new(text: &str) -> Result<Self, ReasonError> {
        let fits = (1..=MAX_REASON_BYTES).contains(&text.len());
        if !fits || text.chars().any(char::is_control) {
            return Err(ReasonError);
        }
        Ok(Self(Arc::new(text.into())))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Deserializes a reason; `None` if a later version of the contract allowed it.
    pub(super) fn if_acceptable<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Self>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        Ok(text.and_then(|text| Self::new(&text).ok()))
    }
}

impl<'de> Deserialize<'de> for GivenReason {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        Self::new(&text).map_err(D::Error::custom)
    }
}

impl Serialize for GivenReason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl FromStr for GivenReason {
    type Err = ReasonError;

    fn from_str(text: &str) -> Result<Self, ReasonError> {
        Self::new(text)
    }
}

// It may be personal data.
impl fmt::Debug for GivenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GivenReason({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_text_without_control_characters() {
        for good in ["x", "kicked by support é", &"x".repeat(64)] {
            assert_eq!(GivenReason::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "a\u{85}", &"x".repeat(65)] {
            assert_eq!(GivenReason::new(bad), Err(ReasonError), "{bad}");
        }
        assert_eq!(size_of::<Option<GivenReason>>(), size_of::<usize>());
    }
}
