//! Output for people and for programs.

use std::{io, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use serde_json::Value;

use super::terminal;

/// How often standard output is looked at: a pipe that is closed says nothing.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How results are printed. Results go to standard output, everything else to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON, one object a line.
    pub json: bool,
}

impl Output {
    /// Prints a result, for people as lines. A reader that went away is no error.
    pub fn say(self, lines: impl IntoIterator<Item: AsRef<str>>, json: &Value) {
        let _ = self.try_say(lines, json);
    }

    /// Prints one of many results.
    ///
    /// # Errors
    /// Where the reader went away.
    pub fn try_say(
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

/// Whoever read standard output has gone: a pipe whose other end is closed.
pub(super) fn reader_is_gone() -> bool {
    let out = io::stdout();
    let mut ends = [PollFd::new(&out, PollFlags::empty())];
    let at_once = Timespec::default();
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut ends, Some(&at_once)).is_ok() && ends[0].revents().intersects(gone)
}

/// A duration with its unit, as the flags take it.
pub(super) fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Rows in columns, a line each.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    // As wide as it is printed.
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
