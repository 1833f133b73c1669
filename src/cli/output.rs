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

/// Rows in columns. Control characters of strangers' texts do not reach the terminal.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let plain = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect()
    };
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells.map(|(c, w)| format!("{:<w$}", plain(c))).collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
