//! Output as text and as JSON.

use std::{collections::BTreeMap, io, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use serde_json::Value;

use super::terminal;
use crate::client::ActiveStream;

/// Interval of checks of standard output, as a closed pipe sends no notification.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How results are printed. Results go to standard output, everything else to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON, one object per line.
    pub json: bool,
}

impl Output {
    /// Prints a result. A closed pipe is not an error.
    pub fn print(self, lines: impl IntoIterator<Item: AsRef<str>>, json: &Value) {
        let _ = self.try_print(lines, json);
    }

    /// Prints one of many results. Fails if the pipe was closed.
    pub fn try_print(
        self,
        lines: impl IntoIterator<Item: AsRef<str>>,
        json: &Value,
    ) -> io::Result<()> {
        if self.json {
            terminal::print_json(json)
        } else {
            terminal::print(lines)
        }
    }
}

/// True if the reader of standard output has closed the pipe.
pub(super) fn reader_is_gone() -> bool {
    let out = io::stdout();
    let mut ends = [PollFd::new(&out, PollFlags::empty())];
    let at_once = Timespec::default();
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut ends, Some(&at_once)).is_ok() && ends[0].revents().intersects(gone)
}

/// Formats a duration with its unit, as flags accept it.
pub(super) fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Formats milliseconds like a duration.
pub(super) fn duration_ms(ms: u64) -> String {
    duration(Duration::from_millis(ms))
}

/// The ending of a noun after a number.
pub(super) fn plural<N: PartialEq + From<u8>>(count: N) -> &'static str {
    if count == N::from(1) { "" } else { "s" }
}

/// A stream's metadata, and whether it was not admitted.
pub(super) fn described(stream: &ActiveStream) -> String {
    let pairs = stream.metadata.pairs().map(|(k, v)| format!("{k}={v}"));
    let pairs = pairs.collect::<Vec<_>>().join(" ");
    let mark = if stream.admitted {
        ""
    } else {
        "(heartbeats only) "
    };
    format!("{mark}{}", terminal::escape(&pairs))
}

/// The numbers of streams with each value of a metadata key.
pub(super) fn by_value(key: &str, counts: &BTreeMap<String, u32>) -> String {
    let counts: Vec<_> = counts.iter().map(|(v, n)| format!("{v} {n}")).collect();
    terminal::escape(&format!("by {key}: {}", counts.join(", "))).into_owned()
}

/// Formats rows as a table, one line per row.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    // The width after escaping.
    let length = |cell: &str| terminal::escape(cell).chars().count();
    let width = |i: usize| rows.iter().map(|r| length(&r[i])).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(c, w)| format!("{:<w$}", terminal::escape(c)))
            .collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect()
}
