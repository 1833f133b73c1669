//! The spinner that shows progress on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

pub(super) fn new() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {msg}") {
        bar.set_style(style);
    }
    bar
}
