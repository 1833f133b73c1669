//! Figures as text, a dash if absent.

use crate::wire::Rfc3339;

const UNKNOWN: &str = "-";

/// A number with thousands separators.
pub(super) fn number(n: Option<u64>) -> String {
    let Some(n) = n else {
        return UNKNOWN.to_owned();
    };
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate, with one decimal if it is small.
pub(super) fn decimal(rate: Option<f64>) -> String {
    match rate {
        None => UNKNOWN.to_owned(),
        Some(rate) if rate < 99.95 => format!("{rate:.1}"),
        Some(rate) => number(format!("{rate:.0}").parse().ok()),
    }
}

/// The age of a replica's state, in a few characters.
pub(super) fn lag(ms: Option<u64>) -> String {
    match ms {
        None => UNKNOWN.to_owned(),
        Some(ms) if ms < 100_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        Some(ms) => age(ms),
    }
}

/// A length of time, in a few characters.
pub(super) fn age(ms: u64) -> String {
    match ms / 1_000 {
        s @ ..60 => format!("{s}s"),
        s @ ..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        s @ ..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        s => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// The time of day, in UTC.
pub(super) fn time(at: Rfc3339) -> String {
    let text = at.to_string();
    let time = text.split_once('T').map_or("", |(_, time)| time);
    format!("{}Z", time.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::WallTime;

    #[test]
    fn figures_are_short() {
        let numbers = [0, 999, 1_000, 1_234_567].map(|n| number(Some(n)));
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
        let lags = [0, 1_990, 99_999, 100_000].map(|ms| lag(Some(ms)));
        assert_eq!(lags, ["0.0s", "1.9s", "99.9s", "1m40s"]);
        let ages = [59_999, 60_000, 3_600_000, 90_000_000].map(age);
        assert_eq!(ages, ["59s", "1m00s", "1h00m", "1d01h"]);
        let rates = [0.0, 12.34, 99.94, 99.96, 12_345.6].map(|rate| decimal(Some(rate)));
        assert_eq!(rates, ["0.0", "12.3", "99.9", "100", "12,346"]);
        assert_eq!(time(Rfc3339(WallTime(1_795_341_604_120))), "10:00:04Z");
    }

    #[test]
    fn a_missing_figure_is_a_dash() {
        assert_eq!([number(None), decimal(None), lag(None)], ["-", "-", "-"]);
    }
}
