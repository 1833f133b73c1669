//! The policy file.

mod check;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::Deserialize;

use super::policy::Policies;
use crate::edge::{
    FileProblems,
    reload::{self, Current, Files},
};

/// The policies of a policy file, whose changes it applies. Clones are cheap and share them.
#[derive(Clone)]
pub struct PolicyFile {
    file: Arc<PathBuf>,
    current: Current<Policies>,
}

impl PolicyFile {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`FileProblems`] if the file cannot be read, or has problems.
    pub fn read(file: PathBuf) -> Result<Self, FileProblems> {
        let policies = Policies::parse(&reload::read_text(&file)?)?;
        Ok(Self {
            file: Arc::new(file),
            current: Current::new(policies),
        })
    }

    pub(super) fn current(&self) -> Current<Policies> {
        self.current.clone()
    }

    /// Reads the file every 5 s, applies changes, and ignores a file with a problem. Never returns.
    pub async fn keep_current(&self) {
        let file = Arc::clone(&self.file);
        let read = move || reload::read_text(&file);
        let parse = |text: &String| Policies::parse(text);
        reload::keep_current(Files::new("policies"), read, parse, &self.current).await;
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    applications: Vec<ApplicationEntry>,
    #[serde(default)]
    policies: Vec<PolicyEntry>,
    requests_per_minute: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationEntry {
    id: Box<str>,
    name: Option<Box<str>>,
    #[serde(default)]
    policies: Vec<Box<str>>,
    #[serde(default)]
    required: Vec<Box<str>>,
    #[serde(default)]
    optional: Vec<Box<str>>,
    #[serde(default)]
    same: Vec<Box<str>>,
    #[serde(default = "yes")]
    may_terminate: bool,
    #[serde(default)]
    account: AccountForm,
    #[serde(default)]
    tenants: BTreeMap<Box<str>, String>,
}

const fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
enum AccountForm {
    #[default]
    #[serde(rename = "idp/subject")]
    IdpAndSubject,
    #[serde(rename = "subject")]
    Subject,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyEntry {
    name: Box<str>,
    #[serde(default)]
    strategy: Strategy,
    #[serde(default)]
    counts: CountScope,
    rules: Vec<RuleEntry>,
}

/// The reaction to a violated rule, in Adobe's words.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    /// A new session is blocked.
    #[default]
    Lifo,
    /// The oldest session ends.
    Fifo,
}

/// The streams that the rules of a policy count.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum CountScope {
    /// Those of the applications with this policy.
    #[default]
    Applications,
    /// All of the account.
    Account,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    name: Option<Box<str>>,
    message: Option<Box<str>>,
    max: u32,
    distinct: Option<Box<str>>,
    #[serde(default)]
    per: Vec<Box<str>>,
    #[serde(default, rename = "where")]
    conditions: BTreeMap<Box<str>, Vec<Value>>,
}

/// A value of metadata. Numbers and booleans are kept as their JSON text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(Box<str>),
    Boolean(bool),
    Number(i64),
}

impl Value {
    fn text(&self) -> Box<str> {
        match self {
            Self::Text(text) => text.clone(),
            Self::Boolean(value) => value.to_string().into(),
            Self::Number(number) => number.to_string().into(),
        }
    }
}

impl Policies {
    /// Parses and checks the text of a file, which is TOML.
    ///
    /// # Errors
    /// [`FileProblems`]: the first problem of its syntax, or all problems of its content.
    pub fn parse(text: &str) -> Result<Self, FileProblems> {
        let file: File = toml::from_str(text).map_err(|error| {
            let place = format!("line {}", reload::line_of(text, &error));
            FileProblems::of(place, error.message())
        })?;
        check::policies(&file).map_err(FileProblems)
    }
}
