//! The terms of an `init`: limits of the account's active streams, and what it ends.

use serde::{Deserialize, Serialize, Serializer};

use super::{GivenReason, Metadata, StreamId};

/// Maximum number of limits of one `init`.
pub const MAX_LIMITS: usize = 8;
/// Maximum number of metadata keys in a limit's `where`.
pub const MAX_WHERE_KEYS: usize = 4;
/// Maximum number of values for each of these keys.
pub const MAX_WHERE_VALUES: usize = 16;
/// Maximum number of metadata keys in `same`.
pub const MAX_SAME_KEYS: usize = 4;
/// Maximum number of conflicting streams that a refusal lists for each limit.
pub const MAX_CONFLICTS: usize = 100;

/// Terms that most `init`s do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// The limits, at most 8. Without any, `max_active` is the only one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// The active streams that agree with the new one in all of these metadata keys are ended first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub same: Vec<Box<str>>,
    /// The reaction to a limit that would be exceeded.
    #[serde(skip_serializing_if = "OnLimit::is_default")]
    pub on_limit: OnLimit,
    /// The reason for the players of the streams that it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<GivenReason>,
}

words! {
    /// The reaction of an `init` to a limit that would be exceeded.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum OnLimit {
        /// It is refused.
        #[default]
        Refuse = "refuse",
        /// It ends as many of the oldest conflicting streams as needed, and no more.
        ReplaceOldest = "replace_oldest",
    }
}

/// A limit of the account's active streams, the new one included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// The maximum number of streams, or of different values of `distinct`.
    pub max: u32,
    /// Counts the different values of this metadata key. A stream without the key counts by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<Box<str>>,
    /// Counts only streams that meet all conditions. The limit applies only to such a new stream.
    #[serde(
        rename = "where",
        serialize_with = "as_map",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub conditions: Vec<Condition>,
}

/// A condition: the stream has this metadata key, with one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The metadata key.
    pub key: Box<str>,
    /// The values; numbers and booleans as their JSON text.
    pub values: Vec<Box<str>>,
}

impl OnLimit {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn as_map<S: Serializer>(conditions: &[Condition], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(conditions.iter().map(|one| (&one.key, &one.values)))
}

/// The streams because of which an `init` exceeds a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The position of the limit in the request; 0 for `max_active`.
    pub limit: usize,
    /// Active streams that count toward the limit, the oldest first, at most 100. Streams with the
    /// new stream's value of `distinct` are not among them.
    pub streams: Vec<StreamId>,
}

impl Terms {
    /// The first field of the contract that they use; `None` if there is none.
    #[must_use]
    pub fn first_field(&self) -> Option<&'static str> {
        let Self {
            limits,
            same,
            on_limit,
            reason,
        } = self;
        [
            ("limits", !limits.is_empty()),
            ("same", !same.is_empty()),
            ("on_limit", !on_limit.is_default()),
            ("reason", reason.is_some()),
        ]
        .into_iter()
        .find_map(|(field, used)| used.then_some(field))
    }

    /// Whether streams with this metadata agree in all keys of `same`.
    pub(super) fn are_same(&self, one: &Metadata, other: &Metadata) -> bool {
        let agree = |key: &str| {
            one.bytes_of(key)
                .is_some_and(|v| other.bytes_of(key) == Some(v))
        };
        !self.same.is_empty() && self.same.iter().all(|key| agree(key))
    }
}

impl Limit {
    /// A limit of the number of all streams.
    #[must_use]
    pub fn of_all(max: u32) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// Whether streams with this metadata count.
    #[must_use]
    pub fn includes(&self, metadata: &Metadata) -> bool {
        self.conditions.iter().all(|it| it.is_met_by(metadata))
    }
}

impl Condition {
    fn is_met_by(&self, metadata: &Metadata) -> bool {
        let value = metadata.bytes_of(&self.key);
        value.is_some_and(|value| self.values.iter().any(|one| one.as_bytes() == value))
    }
}
