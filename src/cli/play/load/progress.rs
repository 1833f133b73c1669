//! Progress of a load: an updated line on a terminal, else a line at intervals.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::ProgressBar;
use tokio::time::Instant;

use super::{
    meter::{CountsAt, Meter},
    pace::per_s,
};
use crate::cli::{play::spinner, terminal};

/// Interval of updates on a terminal.
pub(super) const REFRESH: Duration = Duration::from_millis(500);
/// Interval of lines without a terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Progress {
    bar: ProgressBar,
    /// Standard error is a file or a pipe.
    plain: bool,
    shown: Instant,
    /// The counts that were last shown.
    last: Option<CountsAt>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            bar: spinner::new(),
            plain: !stderr().is_terminal(),
            shown: Instant::now(),
            last: None,
        }
    }

    /// Starts a step with new counts.
    pub(super) fn restart(&mut self, first: CountsAt) {
        self.last = Some(first);
    }

    pub(super) fn show(&mut self, meter: &Meter, doing: &str) {
        // Rates over a shorter time are noise. Timers may be slightly early.
        let every = if self.plain { PLAIN_EVERY } else { REFRESH / 2 };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let now = meter.now();
        let last = self.last.replace(now).unwrap_or(now);
        let rate = |of: fn(CountsAt) -> u64| {
            let per_s = per_s(of(now).saturating_sub(of(last)), now.at - last.at);
            format!("{} ({per_s:.0}/s)", of(now))
        };
        let text = format!(
            "{doing}: published {}, confirmed {}, applied {}   lag {:.0?}",
            rate(|seen| seen.counts.published),
            rate(|seen| seen.counts.confirmed),
            rate(|seen| seen.mark.applied),
            round(meter.lag_now())
        );
        if self.plain {
            terminal::note([text]);
        } else {
            self.bar.set_message(text);
            self.bar.tick();
        }
    }

    /// Prints a permanent line.
    pub(super) fn print(&self, line: &str) {
        self.bar.suspend(|| terminal::note([line]));
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn round(duration: Duration) -> Duration {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
