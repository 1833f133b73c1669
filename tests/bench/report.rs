//! The results, as a table and as JSON.

use serde_json::{Value, json};

use super::pairs::{Pairs, median};

/// The target of a ratio.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// For information only.
    None,
}

impl Target {
    fn is_met(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(ratio >= least),
            Self::AtMost(most) => Some(ratio <= most),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {least:.2}"),
            Self::AtMost(most) => format!("<= {most:.2}"),
            Self::None => String::new(),
        }
    }
}

struct Line {
    name: String,
    unit: &'static str,
    pairs: Pairs,
    ratio: f64,
    target: Target,
}

/// The lines so far.
pub struct Report {
    only: Option<String>,
    pub pairs: usize,
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Report {
    pub const fn new(only: Option<String>, pairs: usize) -> Self {
        Self {
            only,
            pairs,
            lines: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Prints a note about a line, and again below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        eprintln!("  {note}");
        self.notes.push(note);
    }

    /// Returns whether the measurement was selected.
    pub fn wants(&self, name: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    }

    /// Adds a line, and prints it on standard error at once; the table is printed at the end.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        pairs: Pairs,
        target: Target,
    ) {
        let ratio = pairs.ratio();
        self.add_ratio(name, unit, pairs, ratio, target);
    }

    /// Adds a line whose ratio is not that of `ours` to `bare`.
    pub fn add_ratio(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        pairs: Pairs,
        ratio: f64,
        target: Target,
    ) {
        let line = Line {
            name: name.into(),
            unit,
            pairs,
            ratio,
            target,
        };
        eprintln!("{}", line.text());
        self.lines.push(line);
    }

    pub fn print(&self, json: bool) {
        if json {
            let lines: Vec<_> = self.lines.iter().map(Line::json).collect();
            println!(
                "{}",
                json!({ "pairs": self.pairs, "measures": lines, "notes": self.notes })
            );
            return;
        }
        println!("\n{}", Line::heading());
        for line in &self.lines {
            println!("{}", line.text());
        }
        println!("- ratio: the median of the pairs' ratios, not the ratio of the medians");
        for note in &self.notes {
            println!("- {note}");
        }
    }
}

impl Line {
    fn heading() -> String {
        format!(
            "{:<58} {:>12} {:>12} {:<8} {:>7}  {}",
            "measure (medians)", "streamwatch", "baseline", "", "ratio", "target"
        )
    }

    fn text(&self) -> String {
        let met = match self.target.is_met(self.ratio) {
            _ if self.ratio.is_nan() => "",
            Some(true) => "  ok",
            Some(false) => "  MISSED",
            None => "",
        };
        format!(
            "{:<58} {:>12} {:>12} {:<8} {:>7}  {}{met}",
            self.name,
            figure(median(self.pairs.ours.clone())),
            figure(median(self.pairs.bare.clone())),
            self.unit,
            ratio(self.ratio),
            self.target.text(),
        )
    }

    fn json(&self) -> Value {
        json!({
            "measure": self.name, "unit": self.unit,
            "streamwatch": median(self.pairs.ours.clone()), "baseline": median(self.pairs.bare.clone()),
            "all_streamwatch": self.pairs.ours, "all_baseline": self.pairs.bare,
            "ratio": self.ratio, "target": self.target.text(),
            "met": self.target.is_met(self.ratio),
        })
    }
}

fn ratio(value: f64) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else {
        format!("{value:.2}")
    }
}

/// Formats a number with three significant digits.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v.is_nan() => "-".to_owned(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
