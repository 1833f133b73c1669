//! Errors of settings.

use std::borrow::Cow;

/// A setting that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} must be {must_be}")]
pub struct SettingsError {
    /// The setting's name, as in `topology set --NAME`.
    pub setting: &'static str,
    /// The range, in words.
    pub must_be: Cow<'static, str>,
}
