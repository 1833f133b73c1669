//! Mistakes in the settings. All are collected before anything starts, and reported together.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

/// Invalid settings, each with the expected form. Values are not quoted, because one may be a
/// password.
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

    /// Notes a mistake.
    pub fn note(&mut self, mistake: impl Into<String>) {
        self.0.push(mistake.into());
    }

    /// Returns the value of setting `name`, or notes a mistake.
    pub fn check<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(format!("{name}: {error}"));
                None
            }
        }
    }

    /// Returns the value of an optional setting, or notes a mistake.
    pub fn check_if<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &str,
        text: Option<&str>,
    ) -> Option<T> {
        self.check(name, text?)
    }

    /// Returns a duration in milliseconds. The text needs a unit.
    pub fn duration(&mut self, name: &str, text: &str) -> Option<Duration> {
        match humantime::parse_duration(text.trim()) {
            Ok(duration) => Some(duration),
            Err(_) => {
                self.note(format!(
                    "{name}: a duration with its unit, such as 90s or 1m30s"
                ));
                None
            }
        }
    }

    /// Returns an optional duration in milliseconds.
    pub fn duration_if(&mut self, name: &str, text: Option<&str>) -> Option<Duration> {
        self.duration(name, text?)
    }

    /// A number between 0 and 1.
    #[cfg(feature = "play")]
    pub fn rate(&mut self, name: &str, text: &str) -> Option<f64> {
        match text.trim().parse() {
            Ok(rate) if (0.0..=1.0).contains(&rate) => Some(rate),
            _ => {
                self.note(format!("{name}: a number from 0 to 1"));
                None
            }
        }
    }

    /// An address to listen on.
    pub fn address(&mut self, name: &str, text: Option<&str>) -> Option<SocketAddr> {
        match text?.trim().parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.note(format!(
                    "{name}: an address and a port, such as 127.0.0.1:9419"
                ));
                None
            }
        }
    }

    /// Returns `value` if no mistake was noted.
    ///
    /// # Errors
    /// The noted mistakes.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}
