//! Progress of a load: an updated line on a terminal, else a line at intervals.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::ProgressBar;
use tokio::time::Instant;

use super::meter::Meter;
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
    last: ProgressCounts,
}

#[derive(Clone, Copy)]
struct ProgressCounts {
    at: Instant,
    published: u64,
    confirmed: u64,
    applied: u64,
}

impl ProgressCounts {
    fn nothing() -> Self {
        Self {
            at: Instant::now(),
            published: 0,
            confirmed: 0,
            applied: 0,
        }
    }
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            bar: spinner::new(),
            plain: !stderr().is_terminal(),
            shown: Instant::now(),
            last: ProgressCounts::nothing(),
        }
    }

    /// Starts a step with new counts.
    pub(super) fn restart(&mut self) {
        self.last = ProgressCounts::nothing();
    }

    pub(super) fn show(&mut self, meter: &Meter, doing: &str) {
        // Rates over a shorter time are noise. Timers may be slightly early.
        let every = if self.plain { PLAIN_EVERY } else { REFRESH / 2 };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let counts = meter.counts();
        let now = ProgressCounts {
            at: Instant::now(),
            published: counts.published,
            confirmed: counts.confirmed,
            applied: meter.mark().applied,
        };
        let text = format!(
            "{doing}: published {}, confirmed {}, applied {}   lag {:.0?}",
            self.rate(now, |seen| seen.published),
            self.rate(now, |seen| seen.confirmed),
            self.rate(now, |seen| seen.applied),
            round(meter.lag_now())
        );
        if self.plain {
            terminal::note([text]);
        } else {
            self.bar.set_message(text);
            self.bar.tick();
        }
        self.last = now;
    }

    /// Prints a permanent line.
    pub(super) fn print(&self, line: &str) {
        self.bar.suspend(|| terminal::note([line]));
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn rate(&self, now: ProgressCounts, of: impl Fn(ProgressCounts) -> u64) -> String {
        let seconds = (now.at - self.last.at).as_secs_f64().max(0.001);
        let events = of(now).saturating_sub(of(self.last));
        #[expect(clippy::cast_precision_loss, reason = "it is shown rounded")]
        let per_s = events as f64 / seconds;
        format!("{} ({per_s:.0}/s)", of(now))
    }
}

fn round(duration: Duration) -> Duration {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
