//! The report, as text and as JSON, with the broken promises.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::faults::Done;

/// Rows in sections, and the broken promises.
#[derive(Default)]
pub struct Report {
    sections: Vec<(&'static str, Vec<(String, Value)>)>,
    broken: Vec<String>,
}

impl Report {
    pub fn section(&mut self, title: &'static str) {
        self.sections.push((title, Vec::new()));
    }

    pub fn row(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (_, rows) = self.sections.last_mut().expect("a section was begun");
        rows.push((name.into(), value.into()));
    }

    /// A row that must be 0.
    pub fn none(&mut self, name: &str, count: u64) {
        self.row(name, count);
        self.must(count == 0, || format!("{name}: {count}"));
    }

    /// Records a promise; `what` describes how it was broken.
    pub fn must(&mut self, kept: bool, what: impl FnOnce() -> String) {
        if !kept {
            self.broken.push(what());
        }
    }

    pub fn kept(&self) -> bool {
        self.broken.is_empty()
    }

    /// Times until all workers were ready, and unanswered requests, by kind.
    pub fn faults(&mut self, done: &[Done], unanswered: impl Fn(&Done) -> usize) {
        let mut kinds: BTreeMap<_, Vec<&Done>> = BTreeMap::new();
        for one in done {
            kinds.entry(one.kind).or_default().push(one);
        }
        for (kind, ones) in kinds {
            let mut ready: Vec<_> = ones.iter().filter_map(|one| one.ready_after).collect();
            ready.sort_unstable();
            let never = ones.len() - ready.len();
            let value = json!({
                "times": ones.len(),
                "ready_after_s": { "median": seconds(ready.get(ready.len() / 2)), "max": seconds(ready.last()) },
                "unanswered": ones.iter().map(|one| unanswered(one)).sum::<usize>(),
            });
            self.row(kind.to_string(), value);
            self.must(never == 0, || {
                format!("not all workers became ready after: {kind}")
            });
        }
    }

    pub fn json(&self, seed: u64) -> Value {
        let sections = self.sections.iter().map(|(title, rows)| {
            let rows: Map<_, _> = rows.iter().cloned().collect();
            ((*title).to_owned(), Value::Object(rows))
        });
        let mut all: Map<_, _> = sections.collect();
        all.insert("seed".to_owned(), json!(seed));
        all.insert("broken".to_owned(), json!(self.broken));
        Value::Object(all)
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (title, rows) in &self.sections {
            let _ = writeln!(text, "\n{title}");
            for (name, value) in rows {
                let _ = writeln!(text, "  {name:<50} {}", plain(value));
            }
        }
        text.push('\n');
        for broken in &self.broken {
            let _ = writeln!(text, "BROKEN: {broken}");
        }
        if self.kept() {
            text += "every promise was kept\n";
        }
        text
    }
}

fn seconds(duration: Option<&Duration>) -> Option<f64> {
    duration.map(|d| (d.as_secs_f64() * 10.0).round() / 10.0)
}

/// A value as text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Object(members) => {
            let members = members.iter();
            let texts = members.map(|(name, value)| match value {
                Value::Object(_) => format!("{name}: {}", plain(value)),
                _ => format!("{name} {}", plain(value)),
            });
            texts.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
