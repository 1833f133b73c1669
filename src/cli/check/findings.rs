//! Findings of a check, each printed on a line at once.

use std::process::ExitCode;

use serde_json::json;

use crate::cli::{FAILED, exit_code, output::Output};

/// Severity of a finding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// It works, but may fail soon.
    Warning,
    Failed,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "wrong",
        }
    }
}

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

    /// Reports a success.
    pub(super) fn ok(&mut self, what: &str, message: impl Into<String>) {
        self.print(Outcome::Ok, what, &message.into(), None);
    }

    /// Reports a warning.
    pub(super) fn warn(&mut self, what: &str, message: impl Into<String>, remedy: &str) {
        self.print(Outcome::Warning, what, &message.into(), Some(remedy));
    }

    /// Reports a failure and its remedy.
    pub(super) fn fail(&mut self, what: &str, message: impl Into<String>, remedy: &str) {
        self.code.get_or_insert(FAILED);
        self.print(Outcome::Failed, what, &message.into(), Some(remedy));
    }

    /// Reports a failure whose error contains the remedy.
    pub(super) fn fail_with(&mut self, what: &str, error: impl Into<anyhow::Error>) {
        let error = error.into();
        self.code.get_or_insert(exit_code(&error));
        self.print(Outcome::Failed, what, &format!("{error:#}"), None);
    }

    fn print(&self, outcome: Outcome, what: &str, message: &str, remedy: Option<&str>) {
        let mut lines = vec![format!("{:<8} {what:<12} {message}", outcome.name())];
        lines.extend(remedy.map(|remedy| format!("{:<21} -> {remedy}", "")));
        let object = json!({
            "check": what, "outcome": outcome.name(), "message": message, "remedy": remedy,
        });
        self.output.print(lines, &object);
    }

    /// The exit code, which is that of the first failure.
    pub(super) fn finish(self) -> ExitCode {
        self.code.map_or(ExitCode::SUCCESS, ExitCode::from)
    }
}
