//! The text format of `/metrics`, line by line.
//!
//! `prometheus-parse` would add regex and chrono, and allocates a map for each value.

use std::borrow::Cow;

/// One value of a page, as text.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    labels: Labels<'a>,
    value: &'a str,
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Iterates over the values of a page. Skips comments and invalid lines.
pub(super) fn samples(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines().filter_map(Sample::of)
}

impl<'a> Sample<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
        let (name, rest) = line.split_at(end);
        if name.is_empty() || name.starts_with('#') {
            return None;
        }
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        // A timestamp may follow.
        let value = rest.split_whitespace().next()?;
        Some(Self {
            name,
            labels,
            value,
        })
    }

    /// The value of a label; empty if it is missing.
    pub(super) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map_or("", |(_, value)| value)
    }

    /// The value, if it is a whole number.
    pub(super) fn whole(&self) -> Option<u64> {
        self.value.parse().ok()
    }

    /// The value in seconds, as milliseconds.
    pub(super) fn seconds_as_ms(&self) -> Option<u64> {
        let (whole, part) = self.value.split_once('.').unwrap_or((self.value, ""));
        let digits = format!("{:0<3.3}", part);
        let ms = whole.parse::<u64>().ok()?.checked_mul(1_000)?;
        ms.checked_add(digits.parse().ok()?)
    }
}

/// Parses the labels after an opening brace. Returns them and the rest after the closing one.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((found, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, behind) = quoted_text(quoted)?;
        found.push((name.trim(), value));
        rest = behind;
    }
}

/// Parses a text up to its closing quote. Returns it and the rest.
fn quoted_text(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let end = text.find(|c: char| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })?;
    let (value, behind) = (&text[..end], &text[end + 1..]);
    if !value.contains('\\') {
        return Some((value.into(), behind));
    }
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                'n' => plain.push('\n'),
                c => plain.push(c),
            },
            c => plain.push(c),
        }
    }
    Some((plain.into(), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_name_and_labels() {
        let page =
            "# HELP a b\n# TYPE a gauge\na 1\n\nb{x=\"1\",y=\"q\\\"\\\\\\n}\",} 2 1700000000\n";
        let all: Vec<_> = samples(page).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].name, all[0].whole()), ("a", Some(1)));
        assert_eq!((all[1].name, all[1].whole()), ("b", Some(2)));
        assert_eq!(all[1].label("x"), "1");
        assert_eq!(all[1].label("y"), "q\"\\\n}");
        assert_eq!(all[1].label("z"), "");
    }

    #[test]
    fn invalid_lines_are_skipped() {
        for bad in [
            "a",
            "a{",
            "a{b",
            "a{b=\"c",
            "a{b=\"c\"",
            "a{b=\"\\",
            "{} 1",
            "<html> <p>",
        ] {
            let whole = samples(bad).filter_map(|sample| sample.whole()).count();
            assert_eq!(whole, 0, "{bad}");
        }
    }

    #[test]
    fn seconds_are_read_as_milliseconds() {
        let ms = |text: &str| Sample::of(&format!("a {text}")).unwrap().seconds_as_ms();
        assert_eq!(ms("1.500"), Some(1_500));
        assert_eq!(ms("90"), Some(90_000));
        assert_eq!(ms("0.0129"), Some(12));
        assert_eq!(ms("NaN"), None);
        assert_eq!(ms("-1.0"), None);
    }
}
