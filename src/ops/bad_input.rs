//! Rejected messages: all are counted, at most one per second is logged, without its payload.

use std::sync::{Mutex, PoisonError};

use metrics::{counter, describe_counter};

use super::RateLimit;

const BAD_INPUT: &str = "streamwatch_bad_input_total";

static LINES: Mutex<RateLimit> = Mutex::new(RateLimit::new(1));

/// Counts and logs a rejected message that only this worker has consumed: its queue (`log`, `init`,
/// `status`, `unrouted` or `intake`), and the contract's error code.
pub fn count_bad_input(source: &'static str, code: &'static str, now_s: u64) {
    counter!(BAD_INPUT, "source" => source, "reason" => code).increment(1);
    log_bad_input(source, code, now_s);
}

/// Logs a rejected message, or counts its line as suppressed. Entries of a log are counted by the
/// replica.
pub fn log_bad_input(source: &'static str, code: &'static str, now_s: u64) {
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(suppressed) = lines.admit_line(now_s) {
        tracing::warn!(source, code, suppressed, "rejected a message");
    }
}

pub(super) fn describe() {
    describe_counter!(
        BAD_INPUT,
        "Messages of a queue that were rejected, by the contract's error code. One worker consumes \
         each: sum() over workers. Entries of a log are in streamwatch_bad_entries_total."
    );
}
