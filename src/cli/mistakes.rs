//! Mistakes in the settings. All are collected before anything starts, and reported together.

use std::fmt;

use super::setting::Setting;

/// Invalid settings, each with the expected form.
#[derive(Debug, Default, thiserror::Error)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plural, verb) = if self.0.len() == 1 {
            ("", "is")
        } else {
            ("s", "are")
        };
        write!(f, "{} setting{plural} {verb} wrong:", self.0.len())
    }
}

impl Mistakes {
    /// Formats all mistakes, one per line.
    pub fn lines(&self) -> Vec<String> {
        let each = self.0.iter().map(|mistake| format!("  {mistake}"));
        std::iter::once(self.to_string()).chain(each).collect()
    }

    pub fn note(&mut self, mistake: impl Into<String>) {
        self.0.push(mistake.into());
    }

    /// Notes a mistake, and returns no value.
    pub fn reject<T>(&mut self, mistake: impl Into<String>) -> Option<T> {
        self.note(mistake);
        None
    }

    /// Returns the value of a setting, if it has one, or notes the mistake in it.
    pub fn take<'s, T: Clone + 's>(
        &mut self,
        setting: impl Into<Option<&'s Setting<T>>>,
    ) -> Option<T> {
        match &setting.into()?.0 {
            Ok(value) => value.clone(),
            Err(mistake) => self.reject(mistake),
        }
    }

    /// Replaces `to` by the value of a setting, if it has one, or notes the mistake in it.
    pub fn set<'s, T: Clone + 's>(
        &mut self,
        setting: impl Into<Option<&'s Setting<T>>>,
        to: &mut T,
    ) {
        if let Some(value) = self.take(setting) {
            *to = value;
        }
    }

    /// Returns the value, or notes a mistake of the setting `name`.
    pub fn check<T, E: fmt::Display>(&mut self, name: &str, value: Result<T, E>) -> Option<T> {
        value
            .map_err(|error| self.note(format!("{name}: {error}")))
            .ok()
    }

    /// Returns `value` if no mistake was noted, else the mistakes.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}
