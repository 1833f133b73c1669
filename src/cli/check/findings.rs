//! What a check found: a line each, as soon as it is known.

use std::process::ExitCode;

use serde_json::json;

use crate::cli::{FAILED, exit_code, output::Output};

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Well,
    /// It works; it may not for long, or not as it seems.
    Doubtful,
    Wrong,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Doubtful => "warning",
            Self::Wrong => "wrong",
        }
    }
}

/// Prints what is found, and remembers how it went.
pub(super) struct Findings {
    output: Output,
    /// Of the first thing that is wrong.
    code: Option<u8>,
}

impl Findings {
    pub(super) const fn new(output: Output) -> Self {
        Self { output, code: None }
    }

    pub(super) fn well(&mut self, what: &str, said: impl Into<String>) {
        self.say(Outcome::Well, what, &said.into(), None);
    }

    /// It works, but.
    pub(super) fn doubt(&mut self, what: &str, said: impl Into<String>, to_do: &str) {
        self.say(Outcome::Doubtful, what, &said.into(), Some(to_do));
    }

    /// It does not work; this is what to do.
    pub(super) fn wrong_because(&mut self, what: &str, said: impl Into<String>, to_do: &str) {
        self.code.get_or_insert(FAILED);
        self.say(Outcome::Wrong, what, &said.into(), Some(to_do));
    }

    /// It does not work, and the error says what to do.
    pub(super) fn wrong(&mut self, what: &str, error: impl Into<anyhow::Error>) {
        let error = error.into();
        self.code.get_or_insert(exit_code(&error));
        self.say(Outcome::Wrong, what, &format!("{error:#}"), None);
    }

    fn say(&self, outcome: Outcome, what: &str, said: &str, to_do: Option<&str>) {
        let mut lines = vec![format!("{:<8} {what:<12} {said}", outcome.name())];
        lines.extend(to_do.map(|to_do| format!("{:<21} -> {to_do}", "")));
        let object = json!({
            "check": what, "outcome": outcome.name(), "said": said, "to_do": to_do,
        });
        self.output.say(lines, &object);
    }

    /// The exit code: that of the first thing that is wrong.
    pub(super) fn finish(self) -> ExitCode {
        self.code.map_or(ExitCode::SUCCESS, ExitCode::from)
    }
}
