//! Everything that the program prints, escaped: text from outside must not control a terminal, forge
//! a line, or reorder one.
//!
//! Lints forbid `println!` and its like elsewhere. A line feed in a line is escaped as well: the
//! lines of a text are passed one by one.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io::{self, Write},
};

use serde_json::Value;
use tracing_subscriber::fmt::{MakeWriter, format::Writer};

/// A control character, or a character that reorders or breaks lines in a terminal.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// A text without unsafe characters: they are shown as in a Rust string, such as `\u{1b}`.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    let _ = Escaping(&mut escaped).write_str(text);
    escaped.into()
}

/// Escapes what is written.
struct Escaping<W>(W);

impl<W: fmt::Write> fmt::Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(is_unsafe) {
            let last = part.chars().next_back().filter(|c| is_unsafe(*c));
            let safe = part.len() - last.map_or(0, char::len_utf8);
            self.0.write_str(&part[..safe])?;
            if let Some(c) = last {
                write!(self.0, "{}", c.escape_default())?;
            }
        }
        Ok(())
    }
}

/// JSON on one line. serde escapes some of the unsafe characters; outside strings there are none.
fn json_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) {
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line
}

pub(super) fn print(lines: impl IntoIterator<Item: AsRef<str>>) -> io::Result<()> {
    write_lines(io::stdout().lock(), lines)
}

pub(super) fn print_json(json: &Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", json_line(&json.to_string()))
}

/// Prints lines to standard error.
pub(super) fn note(lines: impl IntoIterator<Item: AsRef<str>>) {
    let _ = write_lines(io::stderr().lock(), lines);
}

fn write_lines(mut to: impl Write, lines: impl IntoIterator<Item: AsRef<str>>) -> io::Result<()> {
    for line in lines {
        writeln!(to, "{}", escape(line.as_ref()))?;
    }
    Ok(())
}

/// Formats a field of a log line in text, the message included.
pub(super) fn field(
    to: &mut Writer<'_>,
    field: &tracing::field::Field,
    value: &dyn fmt::Debug,
) -> fmt::Result {
    match field.name() {
        "message" => write!(Escaping(to), "{value:?}"),
        name => write!(Escaping(to), "{name}={value:?}"),
    }
}

/// Standard error for log lines in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLog;

impl<'a> MakeWriter<'a> for JsonLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for JsonLog {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        writeln!(io::stderr().lock(), "{}", json_line(text.trim_end()))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_and_bidi_characters_are_escaped() {
        let unsafe_ones = ('\0'..='\u{ffff}').filter(|c| is_unsafe(*c));
        assert_eq!(unsafe_ones.count(), 32 + 1 + 32 + 3 + 7 + 4);
        let text = "naïve 日本語 \u{1b}[31m\r\n\u{9b}2J\u{7f}\u{202e}txt\u{2066}";
        let escaped = escape(text);
        assert!(!escaped.contains(is_unsafe), "{escaped}");
        assert_eq!(
            escaped,
            "naïve 日本語 \\u{1b}[31m\\r\\n\\u{9b}2J\\u{7f}\\u{202e}txt\\u{2066}"
        );
        assert!(matches!(escape("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}\u{7f}\u{1b}\r\n\"\\" });
        let line = json_line(&value.to_string());
        assert!(!line.contains(is_unsafe), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
