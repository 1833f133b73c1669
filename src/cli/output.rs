//! Output for people and for programs.

use std::{io::Write, time::Duration};

use serde_json::Value;

/// How results are printed. Results go to standard output, everything else to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON, one object a line.
    pub json: bool,
}

impl Output {
    /// Prints a result. A reader that went away is no error.
    pub fn say(self, text: &str, json: &Value) {
        let mut out = std::io::stdout().lock();
        let _ = if self.json {
            writeln!(out, "{json}")
        } else {
            writeln!(out, "{text}")
        };
    }
}

/// A duration with its unit, as the flags take it.
pub(super) fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
