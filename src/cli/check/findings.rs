//! Findings of a check, each printed on a line at once.

use std::process::ExitCode;

use serde_json::json;

use crate::cli::{FAILED, exit_code, output::Output};

/// Prints findings and keeps the exit code.
pub(super) struct Findings {
    output: Output,
    /// The exit code of the first failure.
    code: Option<u8>,
}

impl Findings {
    pub(super) const fn new(output: Output) -> Self {
        Self { output, code: None }
    }

    pub(super) fn ok(&mut self, what: &str, message: impl Into<String>) {
        self.print("ok", what, &message.into(), None);
    }

    pub(super) fn warn(&mut self, what: &str, message: impl Into<String>, remedy: &str) {
        self.print("warning", what, &message.into(), Some(remedy));
    }

    pub(super) fn fail(&mut self, what: &str, message: impl Into<String>, remedy: &str) {
        self.code.get_or_insert(FAILED);
        self.print("wrong", what, &message.into(), Some(remedy));
    }

    /// Reports a failure whose error contains the remedy.
    pub(super) fn fail_with(&mut self, what: &str, error: impl Into<anyhow::Error>) {
        let error = error.into();
        self.code.get_or_insert(exit_code(&error));
        self.print("wrong", what, &format!("{error:#}"), None);
    }

    fn print(&self, outcome: &str, what: &str, message: &str, remedy: Option<&str>) {
        let mut lines = vec![format!("{:<8} {what:<12} {message}", outcome)];
        lines.extend(remedy.map(|remedy| format!("{:<21} -> {remedy}", "")));
        let object = json!({
            "check": what, "outcome": outcome, "message": message, "remedy": remedy,
        });
        self.output.print(lines, &object);
    }

    /// The exit code, which is that of the first failure.
    pub(super) fn finish(self) -> ExitCode {
        self.code.map_or(ExitCode::SUCCESS, ExitCode::from)
    }
}
